#!/bin/sh
# A gateway in shell: takes files of the profile "eml" out of a drop directory and says what became of them.
# Usage: gateway.sh DIRECTORY DONE
set -eu
directory=$1
done=$2
cd "$directory"

# Your work goes here: what is in the file $1 goes out; failing means that it never will, and what is printed goes to the sender.
deliver() {
    to=$(sed -n '/^Received:/q; s/^Delivered-To: //p' "$1" | tr -d '\r')
    case $to in
        refused*) echo "$to is not known here"; return 1 ;;
    esac
    cp "$1" "$done/$2"
}

# A result appears whole: it is written under a name that nobody looks for, and renamed.
say() {
    printf '%s\n' "$3" > "$1.new"
    mv "$1.new" "$1.$2"
}

while :; do
    for file in *; do
        case $file in
            *.work | *.new | *.ok | *.err | *.retry | *.result) continue ;;
        esac
        [ -f "$file" ] || continue
        # Of several gateways exactly one succeeds with this.
        mv "$file" "$file.work" 2> /dev/null || continue
        if text=$(deliver "$file.work" "$file"); then
            say "$file" ok "$text"
        else
            say "$file" err "$text"
        fi
        # Last: what dies before has left a file that somebody can look at.
        rm "$file.work"
    done
    sleep 1
done
