-- A lock that producers hold is waited for a little, not for ever: a migration that cannot get it fails and is run again.
SET LOCAL lock_timeout = '5s';
