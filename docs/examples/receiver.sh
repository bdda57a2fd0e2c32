#!/bin/sh
# A receiver as a CGI program (nginx with fcgiwrap, lighttpd, Apache, busybox httpd), with openssl and od.
# The server gives it WEBHOOK_SECRET and the variables of RFC 3875; the body is its standard input.
set -eu

tolerance_seconds=300
body_max=1000000

answer() {
    printf 'Status: %s\r\n\r\n' "$1"
    exit 0
}

hex() { od -An -v -tx1 | tr -d ' \n'; }

numbers() { printf %s "$1" | sed 's/../0x& /g'; } # of hex digits; not as arguments of a program, which are public

from_hex() { printf %b "$(printf '\\0%03o' $(numbers "$1"))"; }

padded() { # each byte of a key combined with $2 (RFC 2104)
    for byte in $(numbers "$1"); do
        printf %02x $(($byte ^ $2))
    done
}

sha256() { openssl dgst -sha256 -binary; }

case ${CONTENT_LENGTH:-} in '' | 0?* | *[!0-9]* | ????????*) answer '411 Length Required' ;; esac
[ "$CONTENT_LENGTH" -le $body_max ] || answer '413 Content Too Large'
# with a stop in the id, a part of a signed body could pass as the timestamp
case ${HTTP_WEBHOOK_ID:-} in '' | *[!A-Za-z0-9_-]*) answer '401 Unauthorized' ;; esac
case ${HTTP_WEBHOOK_TIMESTAMP:-} in '' | 0* | *[!0-9]* | ????????????*) answer '401 Unauthorized' ;; esac
age=$(($(date +%s) - HTTP_WEBHOOK_TIMESTAMP))
[ ${age#-} -le $tolerance_seconds ] || answer '401 Unauthorized'

case ${WEBHOOK_SECRET:?is not set} in
whsec_*) key=$(printf %s "${WEBHOOK_SECRET#whsec_}" | openssl base64 -d -A | hex) ;;
*) key=$(printf %s "$WEBHOOK_SECRET" | hex) ;;
esac
[ -n "$key" ]
[ ${#key} -le 128 ] || key=$(from_hex "$key" | sha256 | hex)
while [ ${#key} -lt 128 ]; do key=${key}00; done

body=$(mktemp)
trap 'rm -f "$body"' EXIT
head -c "$CONTENT_LENGTH" >"$body"
inner=$({
    from_hex "$(padded "$key" 0x36)"
    printf '%s.%s.' "${HTTP_WEBHOOK_ID:-}" "$HTTP_WEBHOOK_TIMESTAMP"
    cat "$body"
} | sha256 | hex)
expected=v1,$({
    from_hex "$(padded "$key" 0x5c)"
    from_hex "$inner"
} | sha256 | openssl base64 -A)

expected=$(printf %s "$expected" | sha256 | hex) # of hashes, the time of a comparison says nothing
set -f
for given in ${HTTP_WEBHOOK_SIGNATURE:-}; do
    if [ "$(printf %s "$given" | sha256 | hex)" = "$expected" ]; then
        # store it here, unless its id is known; do what takes longer after the answer
        { printf '%s ' "$HTTP_WEBHOOK_ID"; cat "$body"; echo; } >&2
        answer '200 OK'
    fi
done
answer '401 Unauthorized'
