"""Directories and the contacts in them (S1.31–S1.35, S1.40)."""

import django.db.models.deletion
import django.utils.timezone
import portal.encryption
import portal.ids
import portal.indexes
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('portal', '0004_login_is_no_key'),
    ]

    operations = [
        migrations.CreateModel(
            name='Contact',
            fields=[
                ('id', models.UUIDField(default=portal.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('book', models.UUIDField(editable=False)),
                ('source', models.CharField(choices=[('personal', 'Personal'), ('outlook', 'Outlook'), ('crm', 'CRM'), ('group', 'Group'), ('enterprise', 'Enterprise'), ('ldap', 'LDAP'), ('sql', 'SQL')], max_length=10)),
                ('key', models.CharField(blank=True, default='', max_length=200)),
                ('kind', models.CharField(choices=[('person', 'Person'), ('contact', 'Contact'), ('lead', 'Lead'), ('account', 'Account')], default='contact', max_length=10)),
                ('name', models.CharField(max_length=200)),
                ('company', models.CharField(blank=True, default='', max_length=200)),
                ('sip_uri', models.CharField(blank=True, default='', max_length=255, verbose_name='SIP URI')),
                ('jid', models.CharField(blank=True, default='', max_length=255, verbose_name='JID')),
                ('url', models.CharField(blank=True, default='', max_length=500, verbose_name='URL')),
            ],
        ),
        migrations.CreateModel(
            name='ContactNumber',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('book', models.UUIDField(editable=False)),
                ('number', models.CharField(max_length=32)),
                ('type', models.CharField(choices=[('mobile', 'Mobile'), ('work', 'Work'), ('home', 'Home'), ('extension', 'Extension'), ('other', 'Other')], default='other', max_length=10)),
            ],
        ),
        migrations.CreateModel(
            name='ContactWord',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('book', models.UUIDField(editable=False)),
                ('source', models.CharField(choices=[('personal', 'Personal'), ('outlook', 'Outlook'), ('crm', 'CRM'), ('group', 'Group'), ('enterprise', 'Enterprise'), ('ldap', 'LDAP'), ('sql', 'SQL')], max_length=10)),
                ('word', models.CharField(max_length=40)),
            ],
        ),
        migrations.CreateModel(
            name='Directory',
            fields=[
                ('id', models.UUIDField(default=portal.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('kind', models.CharField(choices=[('crm', 'CRM'), ('csv', 'CSV phone list'), ('ldap', 'LDAP'), ('sql', 'SQL database')], max_length=10)),
                ('name', models.CharField(max_length=120)),
                ('settings', models.JSONField(blank=True, default=dict)),
                ('secrets', portal.encryption.EncryptedJSONField(default=dict, editable=False)),
                ('state', models.CharField(choices=[('new', 'Not tried yet'), ('connected', 'Connected'), ('failed', 'Failed'), ('loaded', 'Loaded')], default='new', editable=False, max_length=10)),
                ('state_detail', models.CharField(blank=True, default='', editable=False, max_length=300, verbose_name='detail')),
                ('checked_at', models.DateTimeField(editable=False, null=True)),
                ('failed_until', models.DateTimeField(editable=False, null=True)),
                ('row_count', models.PositiveIntegerField(default=0, editable=False, verbose_name='contacts')),
            ],
            options={
                'verbose_name': 'directory',
                'verbose_name_plural': 'directories',
            },
        ),
        migrations.CreateModel(
            name='FoundName',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.CharField(max_length=32)),
                ('name', models.CharField(blank=True, default='', max_length=200)),
                ('type', models.CharField(choices=[('mobile', 'Mobile'), ('work', 'Work'), ('home', 'Home'), ('extension', 'Extension'), ('other', 'Other')], default='other', max_length=10)),
                ('wanted_by', models.UUIDField(null=True)),
                ('due_at', models.DateTimeField(null=True)),
                ('expires_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.AddField(
            model_name='contact',
            name='user',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='contacts', to='portal.enduser'),
        ),
        migrations.AddField(
            model_name='contactnumber',
            name='contact',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='numbers', to='portal.contact'),
        ),
        migrations.AddField(
            model_name='contactword',
            name='contact',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='words', to='portal.contact'),
        ),
        migrations.AddField(
            model_name='directory',
            name='group',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='directories', to='portal.group'),
        ),
        migrations.AddField(
            model_name='directory',
            name='reseller',
            field=models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='portal.reseller'),
        ),
        migrations.AddField(
            model_name='directory',
            name='system_provider',
            field=models.ForeignKey(blank=True, on_delete=django.db.models.deletion.PROTECT, related_name='directories', to='portal.systemprovider'),
        ),
        migrations.AddField(
            model_name='contact',
            name='directory',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='contacts', to='portal.directory'),
        ),
        migrations.AddField(
            model_name='foundname',
            name='directory',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='found_names', to='portal.directory'),
        ),
        migrations.AddIndex(
            model_name='contactnumber',
            index=models.Index(fields=['book', 'number'], name='contact_number_in_book'),
        ),
        migrations.AddIndex(
            model_name='contactword',
            index=models.Index(models.F('book'), models.F('source'), portal.indexes.Folded('word'), models.F('contact'), name='contact_word_in_book'),
        ),
        migrations.AddConstraint(
            model_name='contactword',
            constraint=models.UniqueConstraint(fields=('contact', 'word'), name='contact_word'),
        ),
        migrations.AddIndex(
            model_name='directory',
            index=models.Index(fields=['system_provider', 'id'], name='directory_sp_id'),
        ),
        migrations.AddIndex(
            model_name='directory',
            index=models.Index(fields=['reseller', 'id'], name='directory_reseller_id'),
        ),
        migrations.AddIndex(
            model_name='directory',
            index=models.Index(fields=['group', 'id'], name='directory_group_id'),
        ),
        migrations.AddIndex(
            model_name='directory',
            index=models.Index(portal.indexes.Folded('name'), models.F('id'), name='directory_name_all'),
        ),
        migrations.AddIndex(
            model_name='directory',
            index=models.Index(models.F('system_provider'), portal.indexes.Folded('name'), models.F('id'), name='directory_name_sp'),
        ),
        migrations.AddIndex(
            model_name='directory',
            index=models.Index(models.F('reseller'), portal.indexes.Folded('name'), models.F('id'), name='directory_name_reseller'),
        ),
        migrations.AddIndex(
            model_name='directory',
            index=models.Index(models.F('kind'), models.F('id'), name='directory_kind_all'),
        ),
        migrations.AddIndex(
            model_name='directory',
            index=models.Index(models.F('system_provider'), models.F('kind'), models.F('id'), name='directory_kind_sp'),
        ),
        migrations.AddIndex(
            model_name='directory',
            index=models.Index(models.F('reseller'), models.F('kind'), models.F('id'), name='directory_kind_reseller'),
        ),
        migrations.AddIndex(
            model_name='directory',
            index=models.Index(condition=models.Q(('group__isnull', True)), fields=['system_provider'], name='directory_of_provider'),
        ),
        migrations.AddIndex(
            model_name='contact',
            index=models.Index(models.F('book'), models.F('source'), portal.indexes.Folded('name'), models.F('id'), name='contact_book_name'),
        ),
        migrations.AddIndex(
            model_name='contact',
            index=models.Index(fields=['user', 'source', 'id'], name='contact_user_source'),
        ),
        migrations.AddIndex(
            model_name='contact',
            index=models.Index(fields=['directory'], name='contact_directory'),
        ),
        migrations.AddConstraint(
            model_name='contact',
            constraint=models.UniqueConstraint(condition=models.Q(('key', ''), _negated=True), fields=('book', 'source', 'key'), name='contact_key_in_book'),
        ),
        migrations.AddIndex(
            model_name='foundname',
            index=models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='found_name_due'),
        ),
        migrations.AddIndex(
            model_name='foundname',
            index=models.Index(fields=['expires_at'], name='found_name_expires'),
        ),
        migrations.AddConstraint(
            model_name='foundname',
            constraint=models.UniqueConstraint(fields=('directory', 'number'), name='found_name'),
        ),
    ]
