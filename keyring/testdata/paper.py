# The lines of a sheet, made from archive/FORMAT.md alone: the vector of TestPaperVector.
import hashlib

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def polymod(values):
    c = 1
    for v in values:
        b = c >> 25
        c = (c & 0x1FFFFFF) << 5 ^ v
        for i, g in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            if b >> i & 1:
                c ^= g
    return c


def line(number, piece):
    bits = int.from_bytes(piece, "big")
    data = [bits >> 5 * (39 - i) & 31 for i in range(40)]
    check = polymod([number >> 5, number & 31] + data + [0] * 6) ^ 0x2BC830A3
    text = "".join(ALPHABET[v] for v in data)
    end = "".join(ALPHABET[check >> 5 * (5 - i) & 31] for i in range(6))
    groups = " ".join(text[i : i + 5] for i in range(0, 40, 5))
    return f"{number:02}: {groups}  {end}" if number else f"END: {groups}  {end}"


data = bytes((7 * i + i // 25) & 255 for i in range(60))
padded = data + bytes(-len(data) % 25)
for n in range(len(padded) // 25):
    print(line(n + 1, padded[25 * n : 25 * n + 25]))
print(line(0, len(data).to_bytes(2, "big") + hashlib.sha256(data).digest()[:23]))
