#!/bin/sh
# Brings connections of this network namespace to the proxy, as meshes do: what leaves goes to 15001, what comes for port
# 8080 to 15006, and what leaves for port 9000 of 10.44.0.2 to 15008 by TPROXY. The proxy itself (user or group 1337) is left alone.
set -e
ip link set lo up
# Two addresses that play other machines.
ip addr add 10.44.0.1/32 dev lo
ip addr add 10.44.0.2/32 dev lo

iptables -t nat -N MESH
iptables -t nat -A OUTPUT -p tcp -j MESH
iptables -t nat -A MESH -m owner --uid-owner 1337 -j RETURN
iptables -t nat -A MESH -m owner --gid-owner 1337 -j RETURN
iptables -t nat -A MESH -p tcp -d 127.0.0.1 --dport 8080 -j REDIRECT --to-ports 15006
iptables -t nat -A MESH -p tcp -d 10.44.0.1 -j REDIRECT --to-ports 15001

# TPROXY works on what arrives: marked packets are routed to arrive once more, on lo.
iptables -t mangle -A OUTPUT -p tcp -d 10.44.0.2 --dport 9000 -m owner ! --gid-owner 1337 -j MARK --set-mark 1
iptables -t mangle -A PREROUTING -p tcp -d 10.44.0.2 --dport 9000 -m mark --mark 1 -j TPROXY --on-port 15008 --tproxy-mark 1
ip rule add fwmark 1 lookup 100
ip route add local 0.0.0.0/0 dev lo table 100
