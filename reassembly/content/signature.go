package content

import (
	"bytes"
	"math/bits"

	"offpath/reassembly"
	"offpath/reassembly/message"
)

// lengthBucket returns 0 for an empty body and n for 2^(n-1) <= octets < 2^n.
func lengthBucket(octets int64) int {
	if octets < 0 {
		return reassembly.Unknown
	}
	return bits.Len64(uint64(octets))
}

// bodySignature walks the first octets of a body, at most limit, of a kind of media
// and sets what its signature has of it.
func (e *Extractor) bodySignature(sig *reassembly.Signature, kind string, f *fields, body message.Body, limit int, v visitor) {
	e.keys.reset()
	sig.Length = lengthBucket(body.Bytes)
	if body.Bytes == 0 {
		sig.Media = mediaNone
		return
	}
	sig.Media = kind
	switch sig.Media {
	case "", mediaJSON, mediaForm, mediaMultipart, mediaXML, mediaOFX, mediaText, mediaBinary:
	default:
		return
	}
	data, whole := e.decoder.prefix()
	if len(data) > limit {
		data, whole = data[:limit], false
	}
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
		e.walkMultipart(data, f.first(roleContentType), whole, v)
	case mediaXML:
		e.walkXML(data, whole, v)
	case mediaOFX:
		e.walkOFX(data, whole)
	}
	e.setKeys(sig)
}

// requestBody sets what a request's query and body say.
func (e *Extractor) requestBody(tx *reassembly.Transaction, f *fields, body message.Body) {
	e.body.reset()
	e.query.reset()
	e.documents = e.documents[:0]
	if i := bytes.IndexByte(f.head.Target, '?'); i >= 0 && !e.bareQuery {
		query, _, _ := bytes.Cut(f.head.Target[i+1:], []byte{'#'})
		e.keys.reset()
		e.walkForm(query, true, &e.query)
	}
	tx.Request.BodyBytes = body.Bytes
	kind := e.setMedia(&tx.Request.MIMEType, f.first(roleContentType))
	e.bodySignature(&tx.Request.Signature, kind, f, body, bodyLimit, &e.body)
	e.auth(tx, f, e.requestCall(tx, f))
}

// requestCall sets the operation that a request calls, and what OFX says. It
// returns the carrier of credentials in the body.
func (e *Extractor) requestCall(tx *reassembly.Transaction, f *fields) (carrier string) {
	e.operation = e.operation[:0]
	media := tx.Request.Signature.Media
	switch media {
	case mediaOFX:
		e.ofxRequest(tx)
		return mediaOFX
	case mediaXML, mediaMultipart: // SOAP with attachments
		e.readXMLCall(f)
	case mediaText:
		if hasPrefixFold(f.first(roleContentType), graphqlType) {
			data, _ := e.decoder.prefix()
			e.body.touched = true
			e.body.call.take(&member{info: nameInfo{classCall, callDocument}, value: value{octets: data}})
		}
	}
	if e.body.touched && e.body.call.any() {
		data, _ := e.decoder.prefix()
		e.readCall(&e.body, data)
	} else if e.query.touched && e.query.call.any() {
		e.readCall(&e.query, nil)
	}
	e.set(&tx.Operation, e.operation)
	switch media {
	case mediaJSON, mediaXML:
		return media
	}
	return mediaForm
}

// responseBody sets what a response's header section and body say.
func (e *Extractor) responseBody(tx *reassembly.Transaction, f *fields, body message.Body) {
	r := &tx.Response
	r.BodyBytes = body.Bytes
	kind := e.setMedia(&r.MIMEType, f.first(roleContentType))
	e.answer.reset()
	limit := bodyLimit
	if IsSafe(tx.Request.Method) {
		limit = safeAnswerLimit
	}
	e.bodySignature(&r.Signature, kind, f, body, limit, &e.answer)
	if r.Signature.Media == mediaOFX {
		e.ofxResponse(tx)
	}
	if e.answer.code.octets != nil {
		e.value = e.answer.code.append(e.value[:0])
		e.set(&r.Signature.Code, e.value)
	}
	e.location(&r.Signature, f)
	e.issued(tx, f)
}

// location sets the path of the Location field.
func (e *Extractor) location(sig *reassembly.Signature, f *fields) {
	location := f.first(roleLocation)
	if len(location) == 0 {
		return
	}
	e.target = e.appendRedacted(e.target[:0], location)
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
