#!/bin/sh
# Data in /var/lib/gaia and the user stay: files may belong to it.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
