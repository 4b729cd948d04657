package tls

import (
	"crypto/rsa"
	"crypto/sha256"
	"fmt"

	"offpath/reassembly/internal/buffer"
	"offpath/reassembly/tls/hello"
	"offpath/reassembly/tls/keylog"
)

// Reader is what the connections of one worker share. It is not for concurrent
// use. What it hands out is valid until the next call for any Conn of it: TLS
// inside TLS needs a Reader for each layer.
type Reader struct {
	// Stats are the books of all connections of the Reader.
	Stats Stats

	config Config
	own    *keylog.Store // of Learn; nil: nothing was learnt
	client hello.Client
	server hello.Server
	out    Plain
	plain  []byte // content of the record at hand

	buffers buffer.Pool

	leaves map[sessionKey]*rsa.PrivateKey // by hash of the certificate; nil: not ours
}

// NewReader returns a Reader.
func NewReader(config Config) (*Reader, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return &Reader{config: config, plain: make([]byte, 0, maxBody), leaves: map[sessionKey]*rsa.PrivateKey{}}, nil
}

// Learn adds the lines of a key log that comes with the traffic, for the
// connections of this Reader alone. More may come: from now on records wait for
// their secrets.
func (r *Reader) Learn(lines []byte) {
	if r.own == nil {
		r.own, _ = keylog.New(keylog.Config{Base: r.config.Secrets}) // it has the default bound
		r.config.Secrets, r.config.Complete = r.own, false
	}
	r.own.Add(lines)
}

// learns reports whether there may be a secret for some connection.
func (r *Reader) learns() bool { return r.config.Secrets != nil || r.config.Keys != nil }

// keep appends to a buffer of this Reader, or says that there is no room.
func (r *Reader) keep(b Budget, buf *[]byte, data []byte) (ok bool) {
	*buf, ok = r.buffers.Append(b, *buf, data)
	return ok
}

// release gives a buffer back; nil is none.
func (r *Reader) release(b Budget, buf *[]byte) {
	r.buffers.Release(b, *buf)
	*buf = nil
}

// maxLeaves bounds the certificates whose key is remembered.
const maxLeaves = 256

// keyOf returns the server key of a certificate; nil if it is not ours.
func (r *Reader) keyOf(der []byte) *rsa.PrivateKey {
	sum := sessionKey(sha256.Sum256(der))
	key, known := r.leaves[sum]
	if !known {
		if len(r.leaves) >= maxLeaves {
			clear(r.leaves)
		}
		key = r.config.Keys.forLeaf(der)
		r.leaves[sum] = key
	}
	return key
}
