#!/bin/sh
# Called with "remove" by dpkg and 0 by rpm when no newer version takes over.
set -e
case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now gaia.service || true
	fi
	;;
esac
