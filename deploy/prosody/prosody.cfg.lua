-- /etc/prosody/prosody.cfg.lua for Prosody 0.12 of Debian 12, the XMPP server of one organisation: clients (UC-One),
-- the portal's sessions for its users, and the portal's SMS gateway. Replace im.example.com and the secret, then
--   apt-get install prosody prosody-modules lua-bitop lua-bit32 lua-event lua-posix lua-readline lua-unbound
--   prosodyctl check
-- docs/xmpp.md says what the portal needs of the server and why.

pidfile = "/run/prosody/prosody.pid"
certificates = "certs"
log = { info = "/var/log/prosody/prosody.log", error = "/var/log/prosody/prosody.err" }

-- Collecting young objects first keeps pauses short with thousands of sessions.
gc = { mode = "generational" }

modules_enabled = {
    "roster", "saslauth", "tls", "disco", "private", "blocklist", "pep", "vcard4", "ping", "time", "version",
    "carbons",      -- what UC-One sends itself stands in the portal's conversation too
    "mam",          -- what came while nobody was connected is fetched from the archive
    "smacks",       -- a connection that broke loses nothing
    "csi_simple",   -- less traffic for phones in a pocket
    "user_account_management", -- users change their own password
    "limits", "posix", "admin_shell",
}
-- The portal reaches nobody outside of this server, and nobody outside reaches its users.
modules_disabled = { "s2s" }

c2s_require_encryption = true
authentication = "internal_hashed"
-- The portal uses SCRAM and nothing else. Take PLAIN away only if every other client knows SCRAM too, as here.
disable_sasl_mechanisms = { "DIGEST-MD5", "PLAIN" }

-- The portal's sessions of many users speak much at once after a restart.
limits = { c2s = { rate = "512kb/s" } }
smacks_hibernation_time = 300
-- So many stanzas of a session wait for the portal to have stored them. With more, as when its database is away, the
-- session cannot be resumed, and the portal reads the archive instead.
smacks_max_queue_size = 5000
c2s_stanza_size_limit = 256 * 1024

-- Direct messages of everybody, for as long as a user may be away without missing one.
default_archive_policy = true
archive_expires_after = "3m"

-- The gateway is a component of this server. It speaks without TLS: keep it on this machine or a private network.
component_interfaces = { "127.0.0.1" }
component_ports = { 5347 }

VirtualHost "im.example.com"

Component "sms.im.example.com"
    component_secret = "a-long-random-secret"
    -- When a worker dies without a word, the one that takes over is let in at once.
    component_conflict_resolve = "kick_old"
