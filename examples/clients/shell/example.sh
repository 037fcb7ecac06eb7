#!/usr/bin/env bash
# Calls a gaia host with curl: JSON, files as they are, a stream, and errors.
#
#     examples/clients/shell/example.sh [FOLDER OF THE SOCKET]
#
# HOST=127.0.0.1:4242 is where the host listens for HTTP. It needs curl 7.82 and jq.
set -euo pipefail

run=${1:-run}
host=${HOST:-127.0.0.1:4242}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The token is the host's own. It goes to curl by a file, as arguments are for all to see.
(umask 077 && printf 'header = "Authorization: Bearer %s"\n' "$(cat "$run/token")" >"$work/curlrc")

# gaia SUBSYSTEM/METHOD [CURL'S ARGUMENTS]: the answer on standard output. An error's text
# goes to standard error; its status is 75 (EX_TEMPFAIL) where a retry may help, else 1.
gaia() {
	local method=$1 status
	shift
	status=$(curl -sS -K "$work/curlrc" -X POST -o "$work/answer" -D "$work/headers" -w '%{http_code}' "$@" "http://$host/v1/$method")
	if [ "$status" = 200 ]; then
		cat "$work/answer"
		return 0
	fi
	jq -r '"gaia: \(.message) (code \(.code))"' "$work/answer" >&2
	! grep -qi '^retry-after:' "$work/headers" || return 75
	return 1
}

# politely is gaia, and again when it was told to come back later.
politely() {
	local code
	while true; do
		code=0
		gaia "$@" || code=$?
		[ $code = 75 ] || return $code
		sleep "$(sed -n 's/^[Rr]etry-[Aa]fter: *\([0-9]*\).*/\1/p' "$work/headers")"
	done
}

# JSON in, JSON out. --json is not -d, which would send a form: that is refused.
politely file_manager/MakeDir --json '{"root": "workspace", "path": "clients-shell", "parents": true}' >/dev/null
politely file_manager/WriteFile --json '{"root": "workspace", "path": "clients-shell/a.txt", "content": "aGVsbG8K"}' | jq -c '.entry | {path, size}'

# A file as it is, both ways: it is the one field of bytes, and the others are in the query.
head -c 3000000 /dev/zero >"$work/big.bin"
gaia 'file_manager/Write?root=workspace&path=clients-shell/big.bin' \
	-T "$work/big.bin" -H 'Content-Type: application/octet-stream' | jq -c '.entry | {path, size}'
gaia 'file_manager/Read?root=workspace&path=clients-shell/big.bin' -H 'Accept: application/octet-stream' >"$work/back.bin"
cmp "$work/big.bin" "$work/back.bin"
echo "read it back, the same"

# A stream is one line of JSON for each message, as they come. -N shows them at once.
gaia file_manager/Search -N --json '{"root": "workspace", "content": "hello"}' | jq -r 'select(.match) | .match.path // .match.entry.path'

# An error is a google.rpc.Status with a fitting HTTP status.
if gaia file_manager/Stat --json '{"root": "workspace", "path": "no/such/file"}' 2>"$work/error"; then
	exit 1
fi
echo "refused: $(cat "$work/error")"
