#!/usr/bin/env python3
"""What flanneld's udp backend does in user space (pkg/backend/udp/proxy_amd64.c): packets of a TUN device go to a peer
as UDP datagrams, datagrams become packets again; each way takes one off TTL.

relay.py DEVICE LOCAL PORT PREFIX=PEER...     runs until its standard input is closed
"""
import fcntl
import ipaddress
import os
import select
import socket
import struct
import sys

TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
SIOCGIFADDR = 0x8915
IP_MTU_DISCOVER = 10
IP_PMTUDISC_DONT = 0


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def lower_ttl(packet):
    """The packet with one less TTL, or None where it ends."""
    header = bytearray(packet[: (packet[0] & 15) * 4])
    header[8] = (header[8] - 1) & 0xFF
    if header[8] == 0:
        return None
    header[10:12] = b"\0\0"
    header[10:12] = struct.pack("!H", checksum(bytes(header)))
    return bytes(header) + packet[len(header) :]


def net_unreachable(packet, own):
    """The ICMP error for a packet that no peer takes, as the proxy writes it back into the device."""
    quoted = packet[: (packet[0] & 15) * 4 + 8]
    if packet[9] == socket.IPPROTO_ICMP or struct.unpack("!H", packet[6:8])[0] & 0x1FFF:
        return None
    icmp = bytearray(struct.pack("!BBHI", 3, 0, 0, 0) + quoted)
    icmp[2:4] = struct.pack("!H", checksum(bytes(icmp)))
    header = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(icmp), 0, 0, 8, 1, 0))
    header += own + packet[12:16]
    header[10:12] = struct.pack("!H", checksum(bytes(header)))
    return bytes(header) + bytes(icmp)


def address_of(device):
    """The device's own address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        return fcntl.ioctl(asking, SIOCGIFADDR, struct.pack("256s", device.encode()))[20:24]


def main():
    device, local, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    routes = [word.split("=") for word in sys.argv[4:]]
    routes = [(ipaddress.ip_network(prefix), peer) for prefix, peer in routes]
    with open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write("flanneld")
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
    peers = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peers.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
    print("attached", flush=True)
    bound = False
    while True:
        ready, _, _ = select.select([tun, peers, sys.stdin] if bound else [sys.stdin], [], [])
        if sys.stdin in ready:
            if not os.read(0, 1):
                return
            # The device's addresses and the node's are there now.
            peers.bind((local, port))
            own = address_of(device)
            bound = True
            print("bound", flush=True)
        if peers in ready:
            packet = lower_ttl(peers.recv(65536))
            if packet is not None:
                os.write(tun, packet)
        if tun in ready:
            packet = os.read(tun, 65536)
            if packet[0] >> 4 != 4:
                continue
            target = ipaddress.ip_address(packet[16:20])
            peer = next((peer for prefix, peer in routes if target in prefix), None)
            if peer is None:
                error = net_unreachable(packet, own)
                if error is not None:
                    os.write(tun, error)
                continue
            packet = lower_ttl(packet)
            if packet is not None:
                try:
                    peers.sendto(packet, (peer, port))
                except OSError:
                    pass


main()
