#!/usr/bin/env python3
"""Echo TCP and UDP with asyncio, and say which tenant asked, as XDP says.

pktmeta gen python ../edge.toml -o pktmeta && python3 asyncio_echo.py 192.0.2.2 7000
"""
import asyncio
import sys

import udp
from pktmeta import PKTMETA_RX_SYN, Registry, edge


async def main(host, port):
    # asyncio's own datagrams come without control messages, and so without tickets: loop over
    # recvmsg() instead whenever there is something to read.
    datagrams, tickets = udp.bind(host, port)
    datagrams.setblocking(False)
    registry = Registry(datagrams)

    def readable():
        try:
            while True:
                udp.echo(datagrams, tickets, registry)
        except BlockingIOError:
            pass

    async def serve(reader, writer):
        connection = writer.get_extra_info("socket")
        tenant = None
        try:
            syn = registry.read(connection, PKTMETA_RX_SYN)
            tenant = syn.get(edge.TENANT) if syn else None
            if tenant is not None:
                registry.write(connection, registry.record(connection).set(edge.TENANT, tenant))
        except OSError:
            pass  # there is no datapath for now, which is no reason not to serve
        print(f"{writer.get_extra_info('peername')[0]}: tenant {tenant}", flush=True)
        while data := await reader.read(2048):
            writer.write(data)
            await writer.drain()
        writer.close()

    asyncio.get_running_loop().add_reader(datagrams, readable)
    server = await asyncio.start_server(serve, host, port)
    print("listening", flush=True)
    await server.serve_forever()


if len(sys.argv) != 3:
    print(f"usage: {sys.argv[0]} ADDRESS PORT", file=sys.stderr)
    sys.exit(2)
asyncio.run(main(sys.argv[1], int(sys.argv[2])))
