"""What lists are filtered by and searched for has an index at each level (rule 7)."""

from django.db import migrations, models

from portal.indexes import AddIndexBesideWrites, Folded


class Migration(migrations.Migration):
    # Indexes are built beside the writers, which a transaction would not allow.
    atomic = False

    dependencies = [
        ('portal', '0002_second_factor_and_names'),
    ]

    operations = [
        AddIndexBesideWrites(
            model_name='auditentry',
            index=models.Index(models.F('actor_id'), models.F('id'), name='audit_actor_all'),
        ),
        AddIndexBesideWrites(
            model_name='auditentry',
            index=models.Index(models.F('system_provider_id'), models.F('actor_id'), models.F('id'), name='audit_actor_sp'),
        ),
        AddIndexBesideWrites(
            model_name='auditentry',
            index=models.Index(models.F('reseller_id'), models.F('actor_id'), models.F('id'), name='audit_actor_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='auditentry',
            index=models.Index(models.F('actor_name'), models.F('id'), name='audit_actor_name_all'),
        ),
        AddIndexBesideWrites(
            model_name='auditentry',
            index=models.Index(models.F('system_provider_id'), models.F('actor_name'), models.F('id'), name='audit_actor_name_sp'),
        ),
        AddIndexBesideWrites(
            model_name='auditentry',
            index=models.Index(models.F('reseller_id'), models.F('actor_name'), models.F('id'), name='audit_actor_name_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='auditentry',
            index=models.Index(models.F('actor_kind'), models.F('id'), name='audit_kind_all'),
        ),
        AddIndexBesideWrites(
            model_name='auditentry',
            index=models.Index(models.F('system_provider_id'), models.F('actor_kind'), models.F('id'), name='audit_kind_sp'),
        ),
        AddIndexBesideWrites(
            model_name='auditentry',
            index=models.Index(models.F('reseller_id'), models.F('actor_kind'), models.F('id'), name='audit_kind_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='auditentry',
            index=models.Index(models.F('action'), models.F('id'), name='audit_action_all'),
        ),
        AddIndexBesideWrites(
            model_name='auditentry',
            index=models.Index(models.F('system_provider_id'), models.F('action'), models.F('id'), name='audit_action_sp'),
        ),
        AddIndexBesideWrites(
            model_name='auditentry',
            index=models.Index(models.F('reseller_id'), models.F('action'), models.F('id'), name='audit_action_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='enduser',
            index=models.Index(Folded('name'), models.F('id'), name='user_name_all'),
        ),
        AddIndexBesideWrites(
            model_name='enduser',
            index=models.Index(models.F('system_provider'), Folded('name'), models.F('id'), name='user_name_sp'),
        ),
        AddIndexBesideWrites(
            model_name='enduser',
            index=models.Index(models.F('reseller'), Folded('name'), models.F('id'), name='user_name_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='enduser',
            index=models.Index(Folded('login'), models.F('id'), name='user_login_all'),
        ),
        AddIndexBesideWrites(
            model_name='enduser',
            index=models.Index(models.F('system_provider'), Folded('login'), models.F('id'), name='user_login_sp'),
        ),
        AddIndexBesideWrites(
            model_name='enduser',
            index=models.Index(models.F('reseller'), Folded('login'), models.F('id'), name='user_login_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='enduser',
            index=models.Index(models.F('licence'), models.F('id'), name='user_licence_all'),
        ),
        AddIndexBesideWrites(
            model_name='enduser',
            index=models.Index(models.F('system_provider'), models.F('licence'), models.F('id'), name='user_licence_sp'),
        ),
        AddIndexBesideWrites(
            model_name='enduser',
            index=models.Index(models.F('reseller'), models.F('licence'), models.F('id'), name='user_licence_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='enduser',
            index=models.Index(models.F('id'), condition=models.Q(('is_active', False)), name='user_inactive_all'),
        ),
        AddIndexBesideWrites(
            model_name='enduser',
            index=models.Index(models.F('system_provider'), models.F('id'), condition=models.Q(('is_active', False)), name='user_inactive_sp'),
        ),
        AddIndexBesideWrites(
            model_name='enduser',
            index=models.Index(models.F('reseller'), models.F('id'), condition=models.Q(('is_active', False)), name='user_inactive_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='group',
            index=models.Index(Folded('name'), models.F('id'), name='group_name_all'),
        ),
        AddIndexBesideWrites(
            model_name='group',
            index=models.Index(models.F('system_provider'), Folded('name'), models.F('id'), name='group_name_sp'),
        ),
        AddIndexBesideWrites(
            model_name='group',
            index=models.Index(models.F('reseller'), Folded('name'), models.F('id'), name='group_name_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='portalaccount',
            index=models.Index(Folded('username'), models.F('id'), name='account_name_all'),
        ),
        AddIndexBesideWrites(
            model_name='portalaccount',
            index=models.Index(models.F('system_provider'), Folded('username'), models.F('id'), name='account_name_sp'),
        ),
        AddIndexBesideWrites(
            model_name='portalaccount',
            index=models.Index(models.F('reseller'), Folded('username'), models.F('id'), name='account_name_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='portalaccount',
            index=models.Index(models.F('level'), models.F('id'), name='account_level_all'),
        ),
        AddIndexBesideWrites(
            model_name='portalaccount',
            index=models.Index(models.F('system_provider'), models.F('level'), models.F('id'), name='account_level_sp'),
        ),
        AddIndexBesideWrites(
            model_name='portalaccount',
            index=models.Index(models.F('reseller'), models.F('level'), models.F('id'), name='account_level_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='portalaccount',
            index=models.Index(models.F('role'), models.F('id'), name='account_role_all'),
        ),
        AddIndexBesideWrites(
            model_name='portalaccount',
            index=models.Index(models.F('system_provider'), models.F('role'), models.F('id'), name='account_role_sp'),
        ),
        AddIndexBesideWrites(
            model_name='portalaccount',
            index=models.Index(models.F('reseller'), models.F('role'), models.F('id'), name='account_role_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='portalaccount',
            index=models.Index(models.F('send_alerts'), models.F('id'), name='account_alerts_all'),
        ),
        AddIndexBesideWrites(
            model_name='portalaccount',
            index=models.Index(models.F('system_provider'), models.F('send_alerts'), models.F('id'), name='account_alerts_sp'),
        ),
        AddIndexBesideWrites(
            model_name='portalaccount',
            index=models.Index(models.F('reseller'), models.F('send_alerts'), models.F('id'), name='account_alerts_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='portalaccount',
            index=models.Index(models.F('id'), condition=models.Q(('is_active', False)), name='account_inactive_all'),
        ),
        AddIndexBesideWrites(
            model_name='portalaccount',
            index=models.Index(models.F('system_provider'), models.F('id'), condition=models.Q(('is_active', False)), name='account_inactive_sp'),
        ),
        AddIndexBesideWrites(
            model_name='portalaccount',
            index=models.Index(models.F('reseller'), models.F('id'), condition=models.Q(('is_active', False)), name='account_inactive_reseller'),
        ),
        AddIndexBesideWrites(
            model_name='reseller',
            index=models.Index(Folded('name'), models.F('id'), name='reseller_name_all'),
        ),
        AddIndexBesideWrites(
            model_name='reseller',
            index=models.Index(models.F('system_provider'), Folded('name'), models.F('id'), name='reseller_name_sp'),
        ),
        AddIndexBesideWrites(
            model_name='systemprovider',
            index=models.Index(Folded('name'), models.F('id'), name='provider_name_all'),
        ),
        AddIndexBesideWrites(
            model_name='outgoingmail',
            index=models.Index(models.F('state'), models.F('id'), name='mail_state_all'),
        ),
        migrations.RemoveIndex(
            model_name='auditentry',
            name='audit_actor_id',
        ),
    ]
