"""A disk of a few MiB that tests fill: a tmpfs, and the file that takes what is left of it."""
import contextlib
import os
import subprocess
import tempfile


def as_root(*command):
    """Mounting needs root, or sudo as scripts/bootstrap does."""
    subprocess.run([*([] if os.getuid() == 0 else ["sudo"]), *command], check=True)


@contextlib.contextmanager
def small_disk(size_mib):
    """A tmpfs of so many MiB."""
    path = tempfile.mkdtemp(prefix="eider-disk-")
    as_root("mount", "-t", "tmpfs", "-o", f"size={size_mib}m,uid={os.getuid()},mode=700", "tmpfs", path)
    try:
        yield path
    finally:
        as_root("umount", "-l", path)
        os.rmdir(path)


def resize(path, size_mib):
    as_root("mount", "-o", f"remount,size={size_mib}m", path)


class Ballast:
    """What fills the disk, and keeps it full: what others give back is taken, too, by the next fill()."""

    def __init__(self, root):
        self.path = os.path.join(root, "ballast")

    def fill(self):
        # Without a buffer: what it kept would be written again when the file is closed, and fail again.
        with open(self.path, "ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while file.write(b"x" * size):
                        pass

    def remove(self):
        os.unlink(self.path)
