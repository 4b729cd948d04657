package http1

import (
	"bytes"

	"offpath/reassembly"
	"offpath/reassembly/message"
)

// Bounds of a message.
const (
	MaxHead      = 64 << 10 // octets of start line and header section
	MaxFields    = 256      // fields kept of a head
	maxChunkLine = 4 << 10  // octets kept of a line between chunks
	maxTrailer   = 64 << 10 // octets of a trailer section; beyond is an anomaly
)

// What readHead makes of octets.
const (
	headIncomplete = 0
	headInvalid    = -1
)

// readHead reads the head that data begins with into r.Head and r.framing, and
// returns its length in octets, headIncomplete or headInvalid. If cut, data is
// what there is of a head that is too large: it ends where data does. The shape
// in the slot like is tried first.
func (r *Reader) readHead(data []byte, response, cut bool, like uint8) int {
	r.framing = framing{length: lengthNone}
	start := line(data)
	clean := start != nil
	pos := len(start) + len("\r\n")
	if !clean {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			return headIncomplete
		}
		var terminated bool
		if start, terminated = trimCR(data[:end]); !terminated {
			r.anomalies |= reassembly.AnomalyBareLF
		}
		pos = end + 1
	}
	r.fold = r.fold[:0]
	r.Head = message.Head{Fields: r.fields[:0]}
	if response {
		if !r.statusLine(start) {
			return headInvalid
		}
	} else if simple, ok := r.requestLine(start); !ok {
		return headInvalid
	} else if simple {
		return pos
	}
	var shape *message.Shape
	n := 0
	if clean {
		shape, n = r.readKnown(data[pos:], r.shapes.At(int(like)), r.recent[kind(response)])
	}
	if n == 0 {
		if n = r.readFields(data[pos:], response, cut); n == headIncomplete && !cut {
			return n
		}
		r.seeOctets(data[:pos+n])
		if r.anomalies == 0 {
			shape = r.shapes.Find(r.Head.Fields)
		}
	}
	if r.Head.Shape = shape; shape != nil {
		r.recent[kind(response)] = shape
		for _, m := range shape.Marked {
			r.frame(m.Kind, r.Head.Fields[m.Index].Value)
		}
	} else {
		for _, f := range r.Head.Fields {
			r.frame(framingKind(f.Name), f.Value)
		}
	}
	switch {
	case response && r.anomalies&reassembly.AnomalyBareCR != 0:
		r.splitFields()
	case !response && r.Head.Version == "1.1" && r.hosts == 0:
		r.anomalies |= reassembly.AnomalyMissingHost
	}
	return pos + n
}

// seeOctets takes note of CR and NUL where none belongs in a head.
func (r *Reader) seeOctets(head []byte) {
	if bytes.Count(head, cr) != r.lines {
		r.anomalies |= reassembly.AnomalyBareCR
	}
	if bytes.IndexByte(head, 0) >= 0 {
		r.anomalies |= reassembly.AnomalyNULInHead
	}
}

// readFields reads the header section that data begins with, line by line. It
// returns its length, or headIncomplete.
func (r *Reader) readFields(data []byte, response, cut bool) int {
	pos := 0
	var torn []byte // a response's line before, if that is a name alone
	if r.lines = 0; r.anomalies&reassembly.AnomalyBareLF == 0 {
		r.lines = 1 // the start line
	}
	for {
		// The usual line first: a token, a colon, a value. The name is read
		// once, to find its end and to see that it is one.
		name := pos
		for name < len(data) && tchar[data[name]] {
			name++
		}
		length := bytes.IndexByte(data[name:], '\n')
		if length < 0 {
			if !cut {
				return headIncomplete
			}
			return pos
		}
		line := data[pos : name+length]
		colon := name - pos
		pos = name + length + 1
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
			r.lines++
		} else {
			r.anomalies |= reassembly.AnomalyBareLF
		}
		if len(line) == 0 {
			return pos
		}
		broken := torn
		torn = nil
		switch {
		case colon > 0 && colon < len(line) && line[colon] == ':':
			r.field(line[:colon], line[colon+1:])
		case !isSpace(line[0]):
			r.oddLine(line, response)
			if response && colon == len(line) {
				torn = line
			}
		case broken != nil && startsValue(line):
			r.tornField(broken, line)
		default:
			r.foldLine(line)
		}
	}
}

var cr = []byte{'\r'}

// requestLine reads a request line; simple says that it is a whole HTTP/0.9
// request.
func (r *Reader) requestLine(line []byte) (simple, ok bool) {
	space := bytes.IndexByte(line, ' ')
	if space <= 0 || space > maxMethod || !isToken(line[:space]) {
		return false, false
	}
	r.Head.Method = line[:space]
	rest := line[space+1:]
	word := lastWord(rest)
	name, ok := version(word)
	if !ok {
		target := trimRight(rest)
		if string(r.Head.Method) != "GET" || len(target) == 0 || target[0] != '/' || bytes.IndexByte(target, ' ') >= 0 {
			return false, false
		}
		r.Head.Version, r.Head.Target = "0.9", target
		return true, true
	}
	r.Head.Version = name
	target := rest[:len(trimRight(rest))-len(word)]
	if n := len(target); n > 0 && target[n-1] == ' ' {
		target = target[:n-1]
	}
	if len(target) == 0 || bytes.IndexByte(target, ' ') >= 0 || len(rest) != len(target)+1+len(word) || word[5] != '1' {
		r.anomalies |= reassembly.AnomalyInvalidRequestLine
		target = trim(target)
	}
	r.Head.Target = target
	return false, true
}

// statusLine reads a status line.
func (r *Reader) statusLine(line []byte) (ok bool) {
	if len(line) > 12 && string(line[:9]) == "HTTP/1.1 " && line[12] == ' ' {
		if a, b, c := line[9]-'0', line[10]-'0', line[11]-'0'; a-1 < 9 && b < 10 && c < 10 {
			r.Head.Version, r.Head.Status = "1.1", int(a)*100+int(b)*10+int(c)
			return true
		}
	}
	if recogniseResponse(line) != Response {
		r.Head.Version = "1.1"
		r.Head.Status, ok = looseStatus(line)
		r.anomalies |= reassembly.AnomalyInvalidStatusLine
		return ok
	}
	r.Head.Version, _ = version(line[:8])
	code := statusCode(line)
	r.Head.Status = int(code[0]-'0')*100 + int(code[1]-'0')*10 + int(code[2]-'0')
	if len(code) == 3 || len(line)-len(code) != len("HTTP/0.0 ") || line[5] != '1' {
		r.anomalies |= reassembly.AnomalyInvalidStatusLine
	}
	return true
}

// oddLine reads a header field line whose name is no token, or is not followed
// by the colon at once.
func (r *Reader) oddLine(line []byte, response bool) {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		r.anomalies |= reassembly.AnomalyInvalidHeader
		return
	}
	name := line[:colon]
	if isSpace(name[colon-1]) {
		r.anomalies |= reassembly.AnomalySpaceBeforeColon
		name = trimRight(name)
	}
	if !isToken(name) {
		r.anomalies |= reassembly.AnomalyInvalidHeader
		if response {
			name = bytes.TrimRight(name, "\x00")
		}
	}
	r.field(name, line[colon+1:])
}

// Lenient clients pass over more than servers do, so a response's fields may be
// broken in ways that make no field of a request.

// startsValue reports whether a continuation line begins with the colon that the
// name before it lacks.
func startsValue(line []byte) bool {
	line = trimLeft(line)
	return len(line) > 0 && line[0] == ':'
}

// tornField takes a response's field whose name stands alone on a line, the colon
// on the next.
func (r *Reader) tornField(name, line []byte) {
	r.anomalies |= reassembly.AnomalyObsFold
	r.field(name, trimLeft(line)[1:])
}

// splitFields begins a response's field behind each CR inside a value that a name
// and a colon follow. The framing is decided before: by RFC 9112 section 2.2 the
// CR is a blank.
func (r *Reader) splitFields() {
	for i := 0; i < r.count() && r.count() < MaxFields; i++ {
		value := r.fields[i].Value
		for from := bytes.IndexByte(value, '\r') + 1; from > 0; {
			rest := value[from:]
			next := bytes.IndexByte(rest, '\r')
			line := rest
			if next >= 0 {
				line = rest[:next]
			}
			if colon := bytes.IndexByte(line, ':'); colon > 0 && isToken(line[:colon]) {
				n := r.count()
				r.Head.Fields = r.fields[:n+1]
				copy(r.fields[i+2:], r.fields[i+1:n])
				r.fields[i].Value = trim(value[:from-1])
				r.fields[i+1] = message.Field{Name: line[:colon], Value: trim(rest[colon+1:])}
				break
			}
			if next < 0 {
				break
			}
			from += next + 1
		}
	}
}

// field takes a header field.
func (r *Reader) field(name, value []byte) {
	if n := r.count(); n < MaxFields {
		f := &r.fields[n]
		f.Name, f.Value = name, trim(value)
		r.Head.Fields = r.fields[:n+1]
		return
	}
	r.anomalies |= reassembly.AnomalyTooManyHeaders
	r.frame(framingKind(name), trim(value))
}

// count is the number of fields read so far.
func (r *Reader) count() int { return len(r.Head.Fields) }

// foldLine joins a continuation line to the field before it (RFC 9112 section
// 5.2).
func (r *Reader) foldLine(line []byte) {
	n := r.count()
	if n == 0 || r.anomalies&reassembly.AnomalyTooManyHeaders != 0 {
		r.anomalies |= reassembly.AnomalyInvalidHeader
		return
	}
	r.anomalies |= reassembly.AnomalyObsFold
	f := &r.fields[n-1]
	from := len(r.fold)
	if from > 0 && len(f.Value) > 0 && len(f.Value) <= from && &r.fold[from-1] == &f.Value[len(f.Value)-1] {
		from -= len(f.Value) // it was joined by the line before: go on there
	} else {
		r.fold = append(r.fold, f.Value...)
	}
	if more := trim(line); len(more) > 0 {
		if len(r.fold) > from {
			r.fold = append(r.fold, ' ')
		}
		r.fold = append(r.fold, more...)
	}
	f.Value = r.fold[from:len(r.fold):len(r.fold)]
}
