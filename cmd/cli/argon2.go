package cli

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"bkfs/archive/seal"
	"bkfs/keyring"
)

// Argon2 runs in a helper process, so that its hundreds of megabytes go back to
// the system and its working memory, which depends on the passphrase, is never
// in a process that lives long. The request is a length, that much JSON, then
// the passphrase; the answer is a byte, then the key or a message. Both go
// through pipes.
const (
	argon2Command = "__argon2"

	argon2Target    = 700 * time.Millisecond
	argon2MaxMemory = 1 << 20 // KiB

	maxArgon2Request = 4096 // bytes of JSON

	answerKey     = 'k'
	answerParams  = 'p'
	answerMessage = 'm'
)

// argon2Request asks for a key under Params, or for parameters that suit this
// machine when Params is nil.
type argon2Request struct {
	Params       *keyring.Argon2 `json:"params,omitempty"`
	MaxMemoryKiB uint32          `json:"max_memory_kib,omitempty"`
}

// kdf is a keyring.KDF.
func kdf(ctx context.Context, passphrase []byte, params keyring.Argon2) (*seal.Key, error) {
	kind, body, err := runArgon2(ctx, argon2Request{Params: &params}, passphrase)
	if err != nil {
		return nil, err
	}
	if kind != answerKey {
		return nil, fmt.Errorf("derive a key from the passphrase: unexpected answer of the helper")
	}
	return seal.KeyFrom(body)
}

// calibrate measures this machine.
func calibrate(ctx context.Context) (keyring.Argon2, error) {
	var params keyring.Argon2
	kind, body, err := runArgon2(ctx, argon2Request{MaxMemoryKiB: argon2Memory()}, nil)
	if err == nil && kind != answerParams {
		err = fmt.Errorf("unexpected answer of the helper")
	}
	if err == nil {
		err = json.Unmarshal(body, &params)
	}
	if err != nil {
		return params, fmt.Errorf("choose argon2 parameters: %w", err)
	}
	return params, nil
}

// argon2Memory is a quarter of the machine's, so that the repository opens on
// the same machine when it is busy.
func argon2Memory() uint32 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 64 << 10
	}
	return uint32(min(info.Totalram*uint64(info.Unit)/4/1024, argon2MaxMemory))
}

func runArgon2(ctx context.Context, req argon2Request, passphrase []byte) (kind byte, body []byte, err error) {
	head, err := json.Marshal(req)
	if err != nil {
		return 0, nil, err
	}
	in := make([]byte, 0, 4+len(head)+len(passphrase))
	in = binary.BigEndian.AppendUint32(in, uint32(len(head)))
	in = append(append(in, head...), passphrase...)
	defer seal.Wipe(in)

	cmd := helper(ctx, argon2Command)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return 0, nil, ctx.Err()
	}
	if err != nil {
		return 0, nil, fmt.Errorf("run argon2: the helper failed, perhaps for want of memory: %w", err)
	}
	if len(out) == 0 {
		return 0, nil, fmt.Errorf("run argon2: the helper said nothing")
	}
	if out[0] == answerMessage {
		return 0, nil, fmt.Errorf("run argon2: %s", out[1:])
	}
	return out[0], out[1:], nil
}

// argon2Main is the helper.
func argon2Main(ctx context.Context, stdin io.Reader, stdout io.Writer) int {
	kind, body, err := argon2Serve(ctx, stdin)
	if err != nil {
		kind, body = answerMessage, []byte(err.Error())
	}
	if _, err := stdout.Write(append([]byte{kind}, body...)); err != nil {
		return exitError
	}
	return exitOK
}

func argon2Serve(ctx context.Context, stdin io.Reader) (byte, []byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(stdin, size[:]); err != nil {
		return 0, nil, fmt.Errorf("read the request: %w", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxArgon2Request {
		return 0, nil, fmt.Errorf("read the request: %d bytes", n)
	}
	head := make([]byte, n)
	if _, err := io.ReadFull(stdin, head); err != nil {
		return 0, nil, fmt.Errorf("read the request: %w", err)
	}
	var req argon2Request
	if err := json.Unmarshal(head, &req); err != nil {
		return 0, nil, fmt.Errorf("read the request: %w", err)
	}
	if req.Params == nil {
		body, err := json.Marshal(keyring.Calibrate(argon2Target, req.MaxMemoryKiB))
		return answerParams, body, err
	}
	passphrase, err := readSecret(stdin)
	if err != nil {
		return 0, nil, fmt.Errorf("read the passphrase: %w", err)
	}
	defer seal.Wipe(passphrase)
	key, err := keyring.RunArgon2(ctx, passphrase, *req.Params)
	if err != nil {
		return 0, nil, err
	}
	return answerKey, key.Bytes(), nil
}
