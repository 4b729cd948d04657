package content

import (
	"bytes"

	"offpath/reassembly/internal/jsonscan"
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

// graphqlType is the media type of a body that is a GraphQL document.
const graphqlType = "application/graphql"

// mediaSlots is the size of a mediaTable, a power of two.
const mediaSlots = 1 << 6

// mediaTable remembers what values of Content-Type say that were seen more than
// once, as a stringTable does.
type mediaTable struct{ slots []mediaSlot }

type mediaSlot struct {
	last uint64 // hash of the last value that missed
	sent string // Content-Type as sent
	mime string // media type in lower case, without parameters
	kind string
}

// setMedia sets the media type of a message and returns its kind; "" if none is
// given.
func (e *Extractor) setMedia(dst *string, contentType []byte) (kind string) {
	if len(contentType) == 0 {
		return ""
	}
	h := endsOf(contentType).hash()
	slot := &e.media.slots[h%mediaSlots]
	switch {
	case slot.sent == string(contentType):
	case slot.last == h && len(contentType) <= maxInterned:
		mime := mediaType(contentType)
		*slot = mediaSlot{h, string(contentType), lowerString(string(mime)), mediaKind(mime)}
	default:
		slot.last = h
		mime := mediaType(contentType)
		e.setLower(dst, mime)
		return mediaKind(mime)
	}
	*dst = slot.mime
	return slot.kind
}

// mediaType returns the media type of a Content-Type without its parameters.
func mediaType(v []byte) []byte {
	if i := bytes.IndexByte(v, ';'); i >= 0 {
		v = v[:i]
	}
	return trim(v)
}

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
	case bytes.HasPrefix(m, []byte("text/")), bytes.HasSuffix(m, []byte("javascript")), string(m) == graphqlType:
		return mediaText
	}
	return mediaBinary
}

// sniffed corrects the kind by how the content begins: clients send JSON, XML
// and OFX under any type, and forms under none.
func sniffed(media string, data []byte) string {
	switch media {
	case "", mediaForm, mediaText, mediaBinary, mediaXML:
	default:
		return media
	}
	b := bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case looksLikeOFX(b):
		return mediaOFX
	case media == mediaXML, bytes.HasPrefix(b, []byte("<?xml")):
		return mediaXML
	}
	if len(b) > 1 && b[0] == '{' && (b[1] == '"' || b[1] == '}' || jsonscan.IsSpace(b[1])) {
		return mediaJSON
	}
	if media == "" && looksLikeForm(b) {
		return mediaForm
	}
	return media
}

// looksLikeOFX reports whether b begins with a header of OFX 1.x, or is markup
// with that of OFX 2.x or the root element before long.
func looksLikeOFX(b []byte) bool {
	const before = 512
	if hasPrefixFold(b, "ofxheader") {
		return true
	}
	if len(b) == 0 || b[0] != '<' {
		return false
	}
	b = b[:min(len(b), before)]
	for i := bytes.IndexByte(b, '<'); i >= 0; i = bytes.IndexByte(b, '<') {
		if b = b[i+1:]; hasPrefixFold(b, "ofx>") || hasPrefixFold(b, "?ofx ") {
			return true
		}
	}
	return false
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
