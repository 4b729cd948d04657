package content

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"offpath/reassembly/message"
)

// Bounds of what a body may become when its content coding is undone.
const (
	maxDecoded = 64 << 20 // octets that are hashed; a body that is more has no hash
	maxWindow  = 8 << 20  // octets of the window that a zstd frame may ask for (RFC 8878 section 3.1.1.1.2 recommends to support 8 MiB)
)

// coding is a content coding (RFC 9110 section 8.4.1).
type coding uint8

const (
	codingIdentity coding = iota
	codingGzip
	codingDeflate
	codingZstd
	codingUnknown // br, or several one upon the other
)

func contentCoding(f *fields) coding {
	if !f.shape.has(roleContentEncoding) {
		return codingIdentity
	}
	switch v := trim(f.first(roleContentEncoding)); {
	case f.count(roleContentEncoding) > 1:
		return codingUnknown
	case len(v) == 0, equalFold(v, "identity"):
		return codingIdentity
	case equalFold(v, "gzip"), equalFold(v, "x-gzip"):
		return codingGzip
	case equalFold(v, "deflate"):
		return codingDeflate
	case equalFold(v, "zstd"):
		return codingZstd
	}
	return codingUnknown
}

// decoder undoes content codings. Its readers are made when first needed and
// used again; none starts a goroutine.
type decoder struct {
	source bytes.Reader
	gzip   *gzip.Reader
	zlib   io.ReadCloser
	raw    io.ReadCloser
	zstd   *zstd.Decoder
	sha    hash.Hash
	out    []byte // the decoded prefix
	chunk  []byte // between reader and hash
}

var errCoding = errors.New("content coding that is not known")

// open returns a reader of data without its coding, valid until the next open.
func (d *decoder) open(c coding, data []byte) (io.Reader, error) {
	d.source.Reset(data)
	switch c {
	case codingGzip:
		if d.gzip == nil {
			d.gzip = new(gzip.Reader)
		}
		return d.gzip, d.gzip.Reset(&d.source)
	case codingDeflate:
		// RFC 9110 means zlib's format by deflate; many send the bare one.
		if len(data) >= 2 && data[0]&0x0f == 8 && (uint(data[0])<<8|uint(data[1]))%31 == 0 {
			if d.zlib == nil {
				r, err := zlib.NewReader(&d.source)
				d.zlib = r
				return r, err
			}
			return d.zlib, d.zlib.(zlib.Resetter).Reset(&d.source, nil)
		}
		if d.raw == nil {
			d.raw = flate.NewReader(&d.source)
			return d.raw, nil
		}
		return d.raw, d.raw.(flate.Resetter).Reset(&d.source, nil)
	case codingZstd:
		if d.zstd == nil {
			r, err := zstd.NewReader(&d.source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
			d.zstd = r
			return r, err
		}
		return d.zstd, d.zstd.Reset(&d.source)
	case codingIdentity:
		return &d.source, nil
	}
	return nil, errCoding
}

// prefix returns the first octets of a body without its content coding, at most
// bodyLimit, and whether that is all. They are valid until the next call.
func (d *decoder) prefix(f *fields, body message.Body) (data []byte, whole bool) {
	c := contentCoding(f)
	if c == codingIdentity {
		n := min(len(body.Prefix), bodyLimit)
		return body.Prefix[:n], body.Whole && n == len(body.Prefix)
	}
	r, err := d.open(c, body.Prefix[:min(len(body.Prefix), bodyLimit)])
	if err != nil {
		return nil, false
	}
	if d.out == nil {
		d.out = make([]byte, bodyLimit)
	}
	n := 0
	for err == nil && n < len(d.out) {
		var more int
		more, err = r.Read(d.out[n:])
		n += more
	}
	return d.out[:n], body.Whole && err == io.EOF
}

// digest returns SHA-256 and length of a body without its content coding; not
// ok if the body isn't whole, its coding not known or broken, or there is too
// much of it.
func (d *decoder) digest(f *fields, body message.Body) (sum []byte, octets int64, ok bool) {
	if !body.Whole {
		return nil, 0, false
	}
	c := contentCoding(f)
	if len(body.Prefix) == 0 {
		c = codingIdentity // nothing was coded: a response to HEAD, a 304
	}
	r, err := d.open(c, body.Prefix)
	if err != nil {
		return nil, 0, false
	}
	if d.sha == nil {
		d.sha = sha256.New()
		d.chunk = make([]byte, 32<<10)
	}
	d.sha.Reset()
	for {
		n, err := r.Read(d.chunk)
		d.sha.Write(d.chunk[:n])
		octets += int64(n)
		if err == io.EOF {
			return d.sha.Sum(d.chunk[:0]), octets, true
		}
		if err != nil || octets > maxDecoded {
			return nil, 0, false
		}
	}
}
