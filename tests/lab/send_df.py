#!/usr/bin/env python3
"""Sends one packet that must not be fragmented, and waits for what comes back. `IP_MTU_DISCOVER` has no safe call in
Rust.

send_df.py udp|icmp DESTINATION PORT SOURCE-PORT PAYLOAD-BYTES SOURCE TTL TOS MARK     (0: as the kernel has it)
"""
import os
import select
import socket
import struct
import sys

IP_MTU_DISCOVER = 10
IP_PMTUDISC_DO = 2
IP_RECVERR = 11


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def main():
    proto, destination = sys.argv[1], sys.argv[2]
    port, sport, size = (int(word) for word in sys.argv[3:6])
    source, (ttl, tos, mark) = sys.argv[6], (int(word) for word in sys.argv[7:10])
    if proto == "udp":
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        data = b"f" * size
    else:
        sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        data = bytearray(struct.pack("!BBHHH", 8, 0, 0, sport, 1) + b"f" * size)
        data[2:4] = struct.pack("!H", checksum(bytes(data)))
        port = 0
    sender.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    sender.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    if ttl:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
    if tos:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
    if mark:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    try:
        sender.bind((source, sport if proto == "udp" else 0))
        sender.connect((destination, port))
        sender.send(data)
    except OSError as error:
        print("refused", error.errno, flush=True)
        return
    print("sent 0", flush=True)
    while True:
        ready, _, _ = select.select([sender, sys.stdin], [], [])
        if sys.stdin in ready and not os.read(0, 1):
            return
        try:
            answer = sender.recv(65536)
        except OSError as error:
            print("error", error.errno, flush=True)
            return
        start = (answer[0] & 15) * 4
        if proto == "udp" or (answer[start] == 0 and answer[start + 4 : start + 6] == struct.pack("!H", sport)):
            print("answered 0", flush=True)
            return


main()
