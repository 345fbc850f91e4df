# Runs one command and ties its life to the process at the other end of stdin (a socket):
#   <- the command's pid, one line
#   -> names of signals for it, one a line
#   end of file: the other end is gone; ask politely, then kill.
# When the command ends by itself, so does this script, at once and with its status.
# Arguments: the polite signal, the grace in tenths of a second, the command.
polite=$1 grace=$2
shift 2
# A command in the background has no stdin but what it is given: keep the socket as 3.
exec 3<&0
exec "$@" </dev/null 3<&- &
child=$!
# The watch stands before anything is written: writing to a dead parent ends a shell.
(
    while read -r signal; do kill -s "$signal" "$child"; done
    kill -s "$polite" "$child"
    # One that stands still (SIGSTOP) hears nothing before it goes on.
    kill -s CONT "$child"
    while [ "$grace" -gt 0 ]; do
        sleep 0.1
        grace=$((grace - 1))
    done
    # The whole group: what the command started goes with it (and so do we).
    kill -s KILL 0
) <&3 >/dev/null 2>&1 &
watch=$!
echo "$child" >&3
# The child's output is its own: no "Killed" of this shell's in it, and no second holder of its end.
exec >/dev/null 2>&1
wait "$child"
status=$?
kill -s KILL "$watch"
exit "$status"
