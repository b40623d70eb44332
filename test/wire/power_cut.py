"""What a power cut leaves of a file, made from a record of what was done to it (record_writes.c)."""
import struct

RECORD = struct.Struct("<QQQ")
PAGE, SECTOR = 4096, 512


class Record:
    """The steps in their order: (kind, offset, bytes)."""

    def __init__(self, path):
        with open(path, "rb") as f:
            data = f.read()
        self.steps, self.ends = [], []
        at = 0
        while at + RECORD.size <= len(data):
            kind, offset, n = RECORD.unpack_from(data, at)
            at += RECORD.size
            if at + n > len(data):
                break
            self.steps.append((chr(kind), offset, data[at:at + n]))
            at += n
            self.ends.append(at)

    def step_at(self, size):
        """How many steps there were when the record was so long."""
        return sum(end <= size for end in self.ends)

    def last_sync(self, n):
        """How many of the first n steps are on the device for sure."""
        return next((i + 1 for i in range(n - 1, -1, -1) if self.steps[i][0] == "s"), 0)

    def image(self, n, dice, lying=0):
        """The file when the power goes within step n: all up to the last sync, and of what came later what the
        device had got to: any part, in any order, of pages some sectors. `lying`: so many syncs did nothing."""
        sure = self.last_sync(n - 1)
        for _ in range(lying):
            sure = self.last_sync(sure - 1)
        file = bytearray()
        for step in self.steps[:sure]:
            apply(file, step)
        late = [step for i, step in enumerate(self.steps[sure:n], sure)]
        versions = {}
        for i, (kind, offset, data) in enumerate(late):
            if kind == "d" and not lying and i < len(late) - 1:
                apply(file, (kind, offset, data))
            elif kind in "wd":
                for page, piece_at, piece in pages_of(offset, data):
                    versions.setdefault(page, []).append((piece_at, piece))
            elif kind == "t":
                apply(file, (kind, offset, data))
        for page in dice.sample(sorted(versions), len(versions)):
            keep_some(file, page, versions[page], dice)
        return bytes(file)


def apply(file, step):
    kind, offset, data = step
    if kind == "t":
        if offset < len(file):
            del file[offset:]
        else:
            file.extend(bytes(offset - len(file)))
    elif kind in "wd":
        if len(file) < offset + len(data):
            file.extend(bytes(offset + len(data) - len(file)))
        file[offset:offset + len(data)] = data


def pages_of(offset, data):
    """The write cut into pages: (page, offset, bytes)."""
    at = 0
    while at < len(data):
        page = (offset + at) // PAGE
        n = min((page + 1) * PAGE - offset - at, len(data) - at)
        yield page, offset + at, data[at:at + n]
        at += n


def keep_some(file, page, versions, dice):
    """One page: nothing of what was not synced came to it, or the first writes, the next one as a whole or torn."""
    whole = dice.randrange(len(versions) + 1)
    for offset, data in versions[:whole]:
        apply(file, ("w", offset, data))
    if whole < len(versions) and dice.random() < 0.3:
        offset, data = versions[whole]
        for at in range(0, len(data), SECTOR):
            if dice.random() < 0.5:
                apply(file, ("w", offset + at, data[at:at + SECTOR]))
