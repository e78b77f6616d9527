#!/bin/busybox sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs in the guest image's tree, as process 1 of namespaces of its own: /init's agent and udhcpc's /bin/dhcp, on the
# interface `guest`. Its other end, `server`, is in the network namespace of process $1.
export PATH=/bin
mount -t proc proc /proc
mount -t tmpfs run /run
mkdir -p /run/ssi /var/lib/ssi
: > /etc/ssi/moved  # we are process 1
sed '/^prepare$/,$d' /init > /run/functions
. /run/functions
interface=guest name=guest
server=$1
nsenter -t "$server" -n sh -c 'ip addr add 198.18.0.1/24 dev server; ip link set server up'
ip link set guest up
serve() {
  printf '%s\n' 'interface server' "start 198.18.0.$1" "end 198.18.0.$1" 'option subnet 255.255.255.0' \
    'lease_file /run/leases' 'pidfile /run/udhcpd.pid' > /run/udhcpd.conf
  : > /run/leases
  nsenter -t "$server" -n udhcpd -f /run/udhcpd.conf > /dev/null 2>&1 &
  dhcpd=$!
}
listening() { netstat -ltn | sed -n 's/.* \(198[0-9.]*\):7701 .*/\1/p'; }
within_10_s() { for n in $(seq 100); do "$@" && break; usleep 100000; done; }
is_on() { [ "$(listening)" = "198.18.0.$1" ]; }
is_renewed() { [ "$(grep -c "lease of .* obtained" /run/udhcpc.log)" = 2 ]; }
serve 5
udhcpc -f -i guest -s /bin/dhcp -t 5 -T 1 -A 1 > /run/udhcpc.log 2>&1 &
client=$!
run_agent > /run/agent.log 2>&1 &
within_10_s is_on 5
first=$(cat /run/ssi/agent.pid)
kill -USR1 "$client"
within_10_s is_renewed
echo "$(listening), renewed by the same agent: $(is_renewed && [ "$(cat /run/ssi/agent.pid)" = "$first" ] && echo yes)"
kill "$dhcpd"
serve 6
kill -USR1 "$client"
within_10_s is_on 6
echo "$(listening)"
cat /run/udhcpc.log /run/agent.log >&2  # for a test that fails
