package content

import (
	"bytes"
	"math/bits"

	"offpath/reassembly"
	"offpath/reassembly/internal/jsonscan"
	"offpath/reassembly/message"
)

// Kinds of media, as in Signature.Media.
const (
	mediaNone      = "none"
	mediaJSON      = "json"
	mediaForm      = "form"
	mediaMultipart = "multipart"
	mediaXML       = "xml"
	mediaOFX       = "ofx"
	mediaHTML      = "html"
	mediaText      = "text"
	mediaBinary    = "binary"
)

// mediaKind returns the kind of a media type; "" if none is given.
func mediaKind(mime []byte) string {
	if len(mime) == 0 {
		return ""
	}
	var buf [96]byte
	m := appendLower(buf[:0], mime[:min(len(mime), len(buf))])
	switch {
	case string(m) == "application/x-www-form-urlencoded":
		return mediaForm
	case bytes.HasPrefix(m, []byte("multipart/")):
		return mediaMultipart
	case bytes.HasSuffix(m, []byte("/json")), bytes.HasSuffix(m, []byte("+json")), bytes.HasSuffix(m, []byte("-json")):
		return mediaJSON
	case bytes.HasSuffix(m, []byte("ofx")), bytes.HasSuffix(m, []byte(".qfx")):
		return mediaOFX
	case string(m) == "text/html", string(m) == "application/xhtml+xml":
		return mediaHTML
	case bytes.HasSuffix(m, []byte("/xml")), bytes.HasSuffix(m, []byte("+xml")):
		return mediaXML
	case bytes.HasPrefix(m, []byte("text/")), bytes.HasSuffix(m, []byte("javascript")):
		return mediaText
	}
	return mediaBinary
}

// sniffed corrects the kind by how the content begins: clients send JSON under
// any type, and forms under none.
func sniffed(media string, data []byte) string {
	switch media {
	case "", mediaForm, mediaText, mediaBinary:
	default:
		return media
	}
	b := bytes.TrimLeft(data, " \t\r\n")
	if len(b) > 1 && b[0] == '{' && (b[1] == '"' || b[1] == '}' || jsonscan.IsSpace(b[1])) {
		return mediaJSON
	}
	if media == "" && looksLikeForm(b) {
		return mediaForm
	}
	return media
}

// looksLikeForm reports whether b begins with a name and an equals sign.
func looksLikeForm(b []byte) bool {
	for i, c := range b {
		switch {
		case c == '=':
			return i > 0
		case !isAlnum(c) && bytes.IndexByte([]byte("_-.[]%+$"), c) < 0 || i == maxName:
			return false
		}
	}
	return false
}

// lengthBucket returns 0 for an empty body and n for 2^(n-1) <= octets < 2^n.
func lengthBucket(octets int64) int {
	if octets < 0 {
		return reassembly.Unknown
	}
	return bits.Len64(uint64(octets))
}

// bodySignature walks a body, sets what its signature has of it, and returns
// its kind of media.
func (e *Extractor) bodySignature(sig *reassembly.Signature, f *fields, body message.Body, v visitor) {
	e.keys.reset()
	sig.Length = lengthBucket(body.Bytes)
	if body.Bytes == 0 {
		sig.Media = mediaNone
		return
	}
	sig.Media = mediaKind(mediaType(f.contentType))
	switch sig.Media {
	case "", mediaJSON, mediaForm, mediaMultipart, mediaText, mediaBinary:
	default:
		return
	}
	data, whole := e.decoder.prefix(f, body)
	if len(data) == 0 {
		return
	}
	sig.Media = sniffed(sig.Media, data)
	switch sig.Media {
	case mediaJSON:
		e.walkJSON(data, v)
	case mediaForm:
		e.walkForm(data, whole, v)
	case mediaMultipart:
		e.walkMultipart(data, f.contentType, whole, v)
	}
	if e.keys.n > 0 {
		e.hex = appendHex(e.hex[:0], mix64(e.keys.set+uint64(e.keys.n)))
		e.set(&sig.Keys, e.hex)
		e.hex = appendHex(e.hex[:0], e.keys.order)
		e.set(&sig.Order, e.hex)
	}
}

// requestBody sets what a request's query and body say.
func (e *Extractor) requestBody(tx *reassembly.Transaction, head *message.Head, f *fields, body message.Body) {
	e.body, e.query = credentials{}, credentials{}
	if i := bytes.IndexByte(head.Target, '?'); i >= 0 {
		query, _, _ := bytes.Cut(head.Target[i+1:], []byte{'#'})
		e.keys.reset()
		e.walkForm(query, true, &e.query)
	}
	tx.Request.BodyBytes = body.Bytes
	e.bodySignature(&tx.Request.Signature, f, body, &e.body)
	carrier := mediaForm
	if tx.Request.Signature.Media == mediaJSON {
		carrier = mediaJSON
	}
	e.auth(tx, f, cookieFields{head, f.cookies}, carrier)
}

// responseBody sets what a response's header section and body say.
func (e *Extractor) responseBody(tx *reassembly.Transaction, head *message.Head, f *fields, body message.Body) {
	r := &tx.Response
	r.BodyBytes = body.Bytes
	e.setLower(&r.MIMEType, mediaType(f.contentType))
	e.answer = answer{}
	e.bodySignature(&r.Signature, f, body, &e.answer)
	if e.answer.code.octets != nil {
		e.value = e.answer.code.append(e.value[:0])
		e.set(&r.Signature.Code, e.value)
	}
	e.location(&r.Signature, f)
	e.issued(tx, f, cookieFields{head, f.cookies})
}

// location sets the path of the Location field.
func (e *Extractor) location(sig *reassembly.Signature, f *fields) {
	if len(f.location) == 0 {
		return
	}
	e.target = e.appendRedacted(e.target[:0], f.location)
	path := e.target
	if _, rest, ok := cutAuthority(path); ok {
		path = rest
	} else if bytes.HasPrefix(path, []byte("//")) {
		path = path[2:]
		path = path[len(path)-len(bytes.TrimLeftFunc(path, func(r rune) bool { return r != '/' && r != '?' && r != '#' })):]
	}
	if i := bytes.IndexAny(path, "?#"); i >= 0 {
		path = path[:i]
	}
	if len(path) == 0 {
		path = []byte{'/'}
	}
	e.set(&sig.Location, path)
}
