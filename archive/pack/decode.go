package pack

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

func newDecoder() *zstd.Decoder {
	z, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(workers()),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(MaxPayload),
		zstd.WithDecodeAllCapLimit(true),
	)
	if err != nil {
		panic(err) // the options are constant
	}
	return z
}

// decode gives the payload of an opened blob, in dst's memory if that is large
// enough, and the number of its chunks. It checks the table against the length.
func decode(z *zstd.Decoder, dst, plain []byte) (payload []byte, count int, err error) {
	if len(plain) < envelopeSize {
		return nil, 0, fmt.Errorf("%w: blob is cut off", ErrDamaged)
	}
	size, n := binary.BigEndian.Uint32(plain[1:]), binary.BigEndian.Uint32(plain[5:])
	if size > MaxPayload || n == 0 || uint64(n)*(lengthSize+1) > uint64(size) {
		return nil, 0, fmt.Errorf("%w: %d chunks in a blob of %d bytes", ErrDamaged, n, size)
	}
	body := plain[envelopeSize:]
	if cap(dst) < int(size) {
		dst = make([]byte, 0, size)
	}
	switch plain[0] {
	case methodRaw:
		if len(body) != int(size) {
			return nil, 0, fmt.Errorf("%w: blob has %d bytes, not %d", ErrDamaged, len(body), size)
		}
		payload = append(dst[:0], body...)
	case methodZstd:
		if payload, err = z.DecodeAll(body, dst[:0:size]); err != nil {
			return nil, 0, fmt.Errorf("%w: decompress blob: %w", ErrDamaged, err)
		}
	default:
		return nil, 0, fmt.Errorf("%w: compression method %d", ErrFormat, plain[0])
	}
	if len(payload) != int(size) {
		return nil, 0, fmt.Errorf("%w: blob has %d bytes, not %d", ErrDamaged, len(payload), size)
	}
	sum := uint64(n) * lengthSize
	for i := range n {
		length := binary.BigEndian.Uint32(payload[i*lengthSize:])
		if length == 0 {
			return nil, 0, fmt.Errorf("%w: blob has an empty chunk", ErrDamaged)
		}
		sum += uint64(length)
	}
	if sum != uint64(size) {
		return nil, 0, fmt.Errorf("%w: blob's table doesn't fit", ErrDamaged)
	}
	return payload, int(n), nil
}
