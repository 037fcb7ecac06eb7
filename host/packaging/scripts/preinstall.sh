#!/bin/sh
# The user that the host runs as, before its files are unpacked.
set -e
getent group gaia >/dev/null || groupadd --system gaia
getent passwd gaia >/dev/null || useradd --system --gid gaia --home-dir /var/lib/gaia --no-create-home --shell /usr/sbin/nologin gaia
