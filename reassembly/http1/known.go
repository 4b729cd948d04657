package http1

import (
	"bytes"

	"offpath/reassembly/message"
)

// A known is what the heads of one shape have in common beyond their names: most
// lines of a header section come again octet for octet. A head is compared with
// it in few pieces: literals, each with the value of a line that varies behind it,
// and what is left after the last of these.
type known struct {
	of     *message.Shape
	sample []byte          // a header section, the empty line that ends it among it; nil: none
	fields []message.Field // of the sample; those that vary are the last head's
	varies []bool          // by line
	pieces []piece
	tail   []byte // of the sample
	uses   uint32 // heads compared with the sample
	spare  []byte // the buffer of the sample
}

// piece is a literal and the line whose value follows it.
type piece struct {
	literal []byte // of the sample
	line    int
}

// Bounds of a known: the octets of a sample, and how many heads it serves. Lines
// that varied may have come to stand still by then.
const (
	maxSample  = 4 << 10
	sampleUses = 1 << 10
)

// kind is the index of requests or responses in Reader.recent.
func kind(response bool) int {
	if response {
		return 1
	}
	return 0
}

// readKnown reads the header section that data begins with as one of a shape. It
// returns the shape that fits and the length of the section, or 0 if none does or
// the section is not regular: every line with CRLF, none folded, no octet that is
// an anomaly.
func (r *Reader) readKnown(data []byte, shapes ...*message.Shape) (*message.Shape, int) {
	for _, shape := range shapes {
		if shape == nil {
			continue
		}
		k := &r.known[shape.Slot]
		if k.of != shape {
			*k = known{of: shape}
		}
		n := k.match(data)
		if n == 0 {
			n = k.learn(data)
		}
		if n > 0 {
			r.Head.Fields = k.fields
			return shape, n
		}
	}
	return nil, 0
}

// match compares data with the sample. It returns the length of the section, or
// 0 if a line differs that did not vary before.
func (k *known) match(data []byte) int {
	if k.uses == sampleUses {
		k.sample = nil
	}
	if k.sample == nil {
		return 0
	}
	k.uses++
	pos := 0
	for i := range k.pieces {
		p := &k.pieces[i]
		from := pos + len(p.literal)
		if from > len(data) || string(data[pos:from]) != string(p.literal) {
			return 0
		}
		value := toCRLF(data[from:])
		if value == nil {
			return 0
		}
		k.fields[p.line].Value = trim(value)
		pos = from + len(value)
	}
	end := pos + len(k.tail)
	if end > len(data) || string(data[pos:end]) != string(k.tail) {
		return 0
	}
	if section := data[:end]; bytes.Count(section, lf) != len(k.fields)+1 || bytes.IndexByte(section, 0) >= 0 {
		return 0
	}
	return end
}

// line returns the octets that data begins with up to a CRLF; nil if there is
// none, or a CR, LF or NUL before it.
func line(data []byte) []byte {
	sent := toCRLF(data)
	if bytes.IndexByte(sent, '\n') >= 0 || bytes.IndexByte(sent, 0) >= 0 {
		return nil
	}
	return sent
}

// toCRLF returns the octets that data begins with up to the first CR; nil if
// there is none, or no LF behind it.
func toCRLF(data []byte) []byte {
	n := bytes.IndexByte(data, '\r')
	if n < 0 || n+1 == len(data) || data[n+1] != '\n' {
		return nil
	}
	return data[:n:n]
}

var lf = []byte{'\n'}

// learn reads data by the names of the shape alone. It makes the sample from it,
// or takes note of the lines that differ from the sample. It returns the length of
// the section, or 0 if it is not of the shape.
func (k *known) learn(data []byte) int {
	fresh := k.sample == nil
	if fresh {
		k.varies = append(k.varies[:0], make([]bool, len(k.of.Sizes))...)
	}
	names, pos, at := k.of.Names, 0, 0
	for i, size := range k.of.Sizes {
		value := pos + int(size)
		if value > len(data) || string(data[pos:value]) != string(names[:size]) {
			return 0
		}
		sent := line(data[value:])
		if sent == nil {
			return 0
		}
		pos, names = value+len(sent)+len("\r\n"), names[size:]
		if !fresh {
			before := line(k.sample[at+int(size):])
			at += int(size) + len(before) + len("\r\n")
			k.varies[i] = k.varies[i] || string(before) != string(sent)
		}
	}
	end := pos + len("\r\n")
	if end > len(data) || string(data[pos:end]) != "\r\n" || end > maxSample {
		return 0
	}
	if fresh {
		k.sample, k.uses = append(k.spare[:0], data[:end]...), 0
		k.spare = k.sample
	}
	k.cut()
	return k.match(data)
}

// cut makes the pieces and fields of the sample.
func (k *known) cut() {
	k.pieces, k.fields = k.pieces[:0], k.fields[:0]
	pos, from := 0, 0
	for i, size := range k.of.Sizes {
		value := pos + int(size)
		sent := line(k.sample[value:])
		k.fields = append(k.fields, message.Field{Name: k.sample[pos : value-1 : value-1], Value: trim(sent)})
		end := value + len(sent)
		if k.varies[i] {
			k.pieces = append(k.pieces, piece{k.sample[from:value], i})
			from = end
		}
		pos = end + len("\r\n")
	}
	k.tail = k.sample[from:]
}
