# Takes a node's snapshot by the script that follows, and prints it so that what is cut off, or in the wrong place, or
# damaged, can be told: begin, the archive in base64, its POSIX checksum and length with the script's exit code, what the
# script said, and an end. Its arguments are the node's name and the pods that are wanted, as the script has them.
set -u
LC_ALL=C
PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/bin
export LC_ALL PATH

work=$(mktemp -d "${TMPDIR:-/tmp}/flowtrace.XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 2' HUP INT TERM PIPE

to_text() {
    if command -v base64 >/dev/null 2>&1; then
        base64
    elif command -v openssl >/dev/null 2>&1; then
        openssl base64
    else
        busybox base64
    fi
}

cat >"$work/collect.sh" <<'END_OF_COLLECT' || exit 2
@SCRIPT@
END_OF_COLLECT
TMPDIR=$work sh "$work/collect.sh" - "$@" >"$work/data" 2>"$work/said" </dev/null
code=$?
echo "flowtrace-frame-1 begin"
[ ! -s "$work/data" ] || to_text <"$work/data"
# shellcheck disable=SC2046 # Checksum and length are two words.
echo "flowtrace-frame-1 data" $(cksum <"$work/data") "$code"
# What the script said may lack its last line's end.
[ ! -s "$work/said" ] || echo >>"$work/said"
sed '/^$/d; s/^/flowtrace-frame-1 said /' "$work/said"
echo "flowtrace-frame-1 end"
