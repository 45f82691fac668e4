# SPDX-License-Identifier: Apache-2.0
"""What stand-ins of servers have in common: HTTP on an address, in threads, and answers that break off."""

import http.server
import threading


def serve(handle, port=0, address='127.0.0.1'):
    """Start a server; return it.

    :param handle: called with the handler of each GET and POST, in a thread of its own.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'
        # Headers and body in one packet.
        wbufsize = -1

        def do_GET(self):
            try:
                handle(self)
            except ConnectionError:
                # Whoever asked would not wait any longer.
                self.close_connection = True

        do_POST = do_GET

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer((address, port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def stop(server):
    server.shutdown()
    server.server_close()


def send(handler, status, content, headers, is_cut=False):
    """Answer with *content*, bytes of JSON.

    :param is_cut: only half of it arrives.
    """
    handler.send_response(status)
    handler.send_header('Content-Type', 'application/json')
    handler.send_header('Content-Length', str(len(content)))
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content[: len(content) // 2] if is_cut else content)
    handler.close_connection = handler.close_connection or is_cut
