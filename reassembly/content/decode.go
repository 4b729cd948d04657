package content

import (
	"bufio"
	"bytes"
	"errors"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"

	"offpath/reassembly/internal/brotli"
	"offpath/reassembly/message"
)

// Bounds of what a body may become when its content codings are undone. One that
// crosses either of the latter two is a compression bomb: decoding stops there.
const (
	maxCodings = 4        // one upon the other
	maxWindow  = 8 << 20  // octets of the window that a zstd frame may ask for (RFC 8878 section 3.1.1.1.2 recommends to support 8 MiB)
	maxDecoded = 64 << 20 // octets
	maxRatio   = 250      // decoded octets per octet on the wire …
	minBomb    = 64 << 10 // … once there are so many of them
)

// coding is a content coding (RFC 9110 section 8.4.1).
type coding uint8

const (
	codingUnknown  coding = iota
	codingIdentity        // none
	codingGzip            // gzip (RFC 1952), x-gzip
	codingDeflate         // deflate: zlib's format (RFC 1950), or bare deflate (RFC 1951), as many send it
	codingBrotli          // br (RFC 7932)
	codingZstd            // zstd (RFC 8878)
	codingCompress        // compress, x-compress: nobody sends it, it is not decoded
)

func codingOf(name []byte) coding {
	switch {
	case len(name) == 0, equalFold(name, "identity"):
		return codingIdentity
	case equalFold(name, "gzip"), equalFold(name, "x-gzip"):
		return codingGzip
	case equalFold(name, "deflate"):
		return codingDeflate
	case equalFold(name, "br"):
		return codingBrotli
	case equalFold(name, "zstd"):
		return codingZstd
	case equalFold(name, "compress"), equalFold(name, "x-compress"):
		return codingCompress
	}
	return codingUnknown
}

var (
	errCoding = errors.New("content coding that can't be undone")
	errBomb   = errors.New("compression bomb")
)

// decoder undoes the content codings of one body after the other. Its readers
// are made when first needed and used again; none starts a goroutine.
type decoder struct {
	digests bool // the whole body is hashed

	body    message.Body
	codings [maxCodings]coding // in the order in which they were applied
	coded   int                // how many
	opened  bool
	bomb    bool      // the body at hand is a compression bomb
	top     io.Reader // the body without its codings
	err     error     // that ended top
	octets  int64     // read from top
	got     int       // of out

	source  bytes.Reader
	inflate [maxCodings]inflater
	links   [maxCodings]link
	zstd    *zstd.Decoder
	br      brotli.Reader
	sha     hash.Hash
	out     []byte // the decoded prefix
	chunk   []byte // what is read behind it
	name    []byte // of a coding
}

// begin takes the next body. One may say that it is coded and not be: most
// servers don't look at what a request says, nor some clients at what a response
// does, and so must who watches for what they read.
func (d *decoder) begin(f *fields, body message.Body) {
	d.body, d.coded, d.opened, d.bomb = body, 0, false, false
	if !f.shape.has(roleContentEncoding) {
		return
	}
	if isText(body.Prefix) {
		return // or there is nothing: a response to HEAD, a 304
	}
	f.each(roleContentEncoding, func(field []byte) {
		for more := true; more; {
			var name []byte
			name, field, more = bytes.Cut(field, []byte{','})
			c := codingOf(d.cleaned(name))
			if c == codingIdentity {
				continue
			}
			if d.coded == maxCodings || (c == codingBrotli || c == codingZstd) && d.has(c) {
				c = codingUnknown // no more windows than one of each
				d.coded = 0
			}
			d.codings[d.coded] = c
			d.coded++
		}
	})
}

// cleaned returns a coding's name without white space around it and control
// characters, which lenient clients pass over. It is valid until the next call.
func (d *decoder) cleaned(name []byte) []byte {
	clean := d.name[:0]
	for _, c := range name {
		if c >= ' ' || c == '\t' {
			clean = append(clean, c)
		}
	}
	d.name = clean
	return trim(clean)
}

func (d *decoder) has(c coding) bool {
	for _, other := range d.codings[:d.coded] {
		if other == c {
			return true
		}
	}
	return false
}

// enoughText is how many octets tell text from what is coded.
const enoughText = 32

// isText reports whether data begins as nothing does that is coded: with
// printable ASCII characters.
func isText(data []byte) bool {
	for _, c := range data[:min(len(data), enoughText)] {
		if (c < ' ' || c > '~') && c != '\r' && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}

// open makes top the body without its codings.
func (d *decoder) open() {
	d.opened, d.octets, d.got, d.err = true, 0, 0, nil
	if d.digests {
		d.sha.Reset()
	}
	d.source.Reset(d.body.Prefix)
	var below octetReader = &d.source
	for i := d.coded - 1; i >= 0; i-- {
		switch d.codings[i] {
		case codingGzip, codingDeflate:
			z := &d.inflate[i]
			z.reset(below, d.codings[i] == codingGzip)
			d.top = z
		case codingBrotli:
			d.br.Reset(below)
			d.top = &d.br
		case codingZstd:
			if d.zstd == nil {
				d.zstd, d.err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
			}
			if d.err == nil {
				d.err = d.zstd.Reset(below)
			}
			d.top = d.zstd
		default:
			d.err = errCoding
		}
		if d.err != nil {
			return
		}
		if i > 0 {
			l := &d.links[i]
			l.reset(d, d.top)
			if first, _ := l.buf.Peek(enoughText); isText(first) {
				d.top = l.buf // it isn't coded once more, as it says
				return
			}
			below = l.buf
		}
	}
}

// read reads on, unless the body turns out to be a bomb.
func (d *decoder) read(p []byte) (n int) {
	n, d.err = d.top.Read(p)
	d.octets += int64(n)
	switch outer := d.codings[d.coded-1]; {
	case d.check(d.octets):
		d.err = errBomb
	case d.err == io.EOF && outer == codingBrotli && d.source.Len() > 0:
		d.err = errCoding // br has no mark to tell it by: text that isn't coded may seem to end early
	case d.err == io.ErrUnexpectedEOF && d.coded == 1 && (outer == codingGzip || outer == codingDeflate) && bytes.HasSuffix(d.body.Prefix, flushed):
		d.err = io.EOF
	}
	if d.digests {
		d.sha.Write(p[:n])
	}
	return n
}

// flushed is how deflate ends that its sender flushed and did not finish, the end
// of an empty stored block (RFC 1951 section 3.2.4). All that was said is there, and
// clients take it.
var flushed = []byte{0, 0, 0xff, 0xff}

// check reports whether so many octets are too many for what was read of the
// wire.
func (d *decoder) check(octets int64) bool {
	d.bomb = d.bomb || octets >= minBomb && (octets > maxDecoded || octets > maxRatio*d.wire())
	return d.bomb
}

// wire is how many octets of the wire were read.
func (d *decoder) wire() int64 { return int64(len(d.body.Prefix) - d.source.Len()) }

// prefix returns the first octets of the body without its content codings, at
// most bodyLimit, and whether that is all. They are valid until the next body.
func (d *decoder) prefix() (data []byte, whole bool) {
	if d.coded == 0 {
		n := min(len(d.body.Prefix), bodyLimit)
		return d.body.Prefix[:n], d.body.Whole && n == len(d.body.Prefix)
	}
	d.readPrefix()
	return d.out[:d.got], d.body.Whole && d.err == io.EOF && d.octets == int64(d.got)
}

func (d *decoder) readPrefix() {
	if d.opened {
		return
	}
	d.open()
	if d.out == nil {
		d.out = make([]byte, bodyLimit)
		d.chunk = make([]byte, 32<<10)
	}
	for d.err == nil && d.got < len(d.out) {
		d.got += d.read(d.out[d.got:])
	}
	// Where so little gave so much, it is worth a look how it goes on.
	for d.err == nil && d.got == len(d.out) && d.octets < minBomb && maxRatio*d.wire() < minBomb {
		d.read(d.chunk)
	}
}

// digest returns SHA-256 and length of the body without its content codings; not
// ok if the body isn't whole, its coding not known or broken, or there is too
// much of it.
func (d *decoder) digest() (sum []byte, octets int64, ok bool) {
	switch {
	case !d.body.Whole:
		return nil, 0, false
	case d.coded == 0:
		d.sha.Reset()
		d.sha.Write(d.body.Prefix)
		return d.sha.Sum(nil), int64(len(d.body.Prefix)), true
	}
	d.readPrefix()
	for d.err == nil {
		d.read(d.chunk)
	}
	return d.sha.Sum(nil), d.octets, d.err == io.EOF
}

// octetReader is what inflater reads from.
type octetReader interface {
	io.Reader
	io.ByteScanner
}

// link is where one coding lies upon another: what the reader of the outer one
// gives, up to the bounds of a bomb.
type link struct {
	decoder *decoder
	outer   io.Reader
	octets  int64
	buf     *bufio.Reader
}

func (l *link) reset(d *decoder, outer io.Reader) {
	l.decoder, l.outer, l.octets = d, outer, 0
	if l.buf == nil {
		l.buf = bufio.NewReaderSize(nil, 1<<10)
	}
	l.buf.Reset(l)
}

// Read implements io.Reader.
func (l *link) Read(p []byte) (n int, err error) {
	n, err = l.outer.Read(p)
	if l.octets += int64(n); l.decoder.check(l.octets) {
		return 0, errBomb
	}
	return n, err
}
