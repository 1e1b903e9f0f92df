-- psql -X postgres <roles.sql, once, as the superuser. The password is that of PORTAL_DATABASE_PASSWORD: what is in the
-- environment no other user of the machine sees.
-- The portal owns its database and nothing else; it migrates itself.
\set ON_ERROR_STOP on
\getenv password PORTAL_DATABASE_PASSWORD
CREATE ROLE portal LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 220 PASSWORD :'password';
CREATE DATABASE portal OWNER portal ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8' TEMPLATE template0;
REVOKE ALL ON DATABASE portal FROM PUBLIC;
-- Shows the statements of every database. Not in the portal's own, which restores without a superuser.
CREATE EXTENSION pg_stat_statements;
