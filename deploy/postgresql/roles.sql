-- psql -v password="'…'" -f roles.sql postgres, once, as the superuser.
-- The portal owns its database and nothing else; it migrates itself.
CREATE ROLE portal LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 180 PASSWORD :password;
CREATE DATABASE portal OWNER portal ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8' TEMPLATE template0;
REVOKE ALL ON DATABASE portal FROM PUBLIC;
