"""A way to a server on which answers come late: what the server says behind a request that has certain bytes in it is kept back
until the test lets it go, or for a while. Everything else passes at once; with `wholly` nothing passes from then on, as at a host that
froze: not on other connections either, and new ones are taken by the kernel alone."""
import select
import socket
import threading


class SlowWay:
    def __init__(self, port, needle, hold_s, wholly=False):
        self.target, self.needle, self.hold_s, self.wholly = port, needle, hold_s, wholly
        self.held = threading.Event()   # a request with the bytes came
        self.go_on = threading.Event()  # answers wait no more
        self.ends = threading.Event()
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(50)
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self._accept)]

    def _accept(self):
        while not self.ends.is_set():
            self._stay_silent()
            if select.select([self.listener], [], [], 0.1)[0]:
                client = self.listener.accept()[0]
                self.threads.append(threading.Thread(target=self._pump, args=(client,)))
                self.threads[-1].start()

    def _stay_silent(self):
        if self.wholly and self.held.is_set():
            self.go_on.wait(self.hold_s)

    def _pump(self, client):
        with client, socket.create_connection(("127.0.0.1", self.target)) as server:
            while not self.ends.is_set():
                for sock in select.select([client, server], [], [], 0.1)[0]:
                    try:
                        data = sock.recv(65536)
                        if self.needle in data and sock is client and self.wholly:
                            self.held.set()
                        self._stay_silent()
                        if not data:
                            return
                        (server if sock is client else client).sendall(data)
                    except OSError:
                        return
                    if sock is client and self.needle in data:
                        self.held.set()
                        self.go_on.wait(self.hold_s)

    def __enter__(self):
        self.threads[0].start()
        return self

    def __exit__(self, *unused):
        self.ends.set()
        self.go_on.set()
        self.threads[0].join()
        for thread in self.threads[1:]:
            thread.join()
        self.listener.close()
