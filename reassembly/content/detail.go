package content

import (
	"bytes"

	"offpath/reassembly"
	"offpath/reassembly/message"
)

// detail sets what --detail adds. Of HTTP/2 the pseudo-header fields are among the
// fields, as sent: their order tells programs apart.
func (e *Extractor) detail(d *reassembly.Detail, f *fields) {
	d.DecodedBytes = reassembly.Unknown
	if e.detailHeaders {
		d.Fields = make([][2]string, len(f.head.Fields))
		for i, field := range f.head.Fields {
			e.set(&d.Fields[i][0], field.Name)
			e.target = e.appendField(e.target[:0], field)
			e.set(&d.Fields[i][1], e.target)
		}
	}
	if e.detailBodies {
		if sum, octets, ok := e.decoder.digest(); ok {
			d.DecodedBytes = octets
			e.hex = e.hex[:0]
			for _, c := range sum {
				e.hex = append(e.hex, hexDigits[c>>4], hexDigits[c&15])
			}
			e.set(&d.SHA256, e.hex)
		}
	}
}

// appendField appends the value of a header field with what is secret in it
// hashed: the credentials of Authorization (its scheme stays), every cookie's
// value, user and password before a host, the whole value of fields with
// credential-like names, tokens among subprotocols, and what is credential-like in
// any other value, as in a URL; JSON Web Tokens wherever they stand.
func (e *Extractor) appendField(dst []byte, f message.Field) []byte {
	if e.hash.cleartext || len(f.Value) == 0 {
		return append(dst, f.Value...)
	}
	from := len(dst)
	return e.hideTokens(e.appendNamed(dst, f), from)
}

// appendNamed is appendField by the field's name.
func (e *Extractor) appendNamed(dst []byte, f message.Field) []byte {
	switch {
	case equalFold(f.Name, "authorization"), equalFold(f.Name, "proxy-authorization"):
		return e.appendAuthorization(dst, f.Value)
	case equalFold(f.Name, "cookie"):
		for i, pair := range bytes.Split(f.Value, []byte{';'}) {
			if i > 0 {
				dst = append(dst, ';')
			}
			dst = e.appendCookie(dst, pair)
		}
		return dst
	case equalFold(f.Name, "set-cookie"):
		pair, attributes, more := bytes.Cut(f.Value, []byte{';'})
		dst = e.appendCookie(dst, pair)
		if more {
			dst = append(append(dst, ';'), attributes...)
		}
		return dst
	case equalFold(f.Name, "sec-websocket-protocol"):
		return e.appendProtocols(dst, f.Value)
	}
	if at := bytes.LastIndexByte(f.Value, '@'); at >= 0 && (equalFold(f.Name, "host") || equalFold(f.Name, ":authority")) {
		return append(e.appendUserInfo(dst, f.Value[:at]), f.Value[at:]...)
	}
	if kind, secret := headerClass(f.Name).hashed(); secret {
		return e.hash.append(dst, kind, f.Value)
	}
	return e.appendRedacted(dst, f.Value)
}

// headerClass classifies a field name: as any other name, an X- before it
// apart.
func headerClass(name []byte) nameInfo {
	if hasPrefixFold(name, "x-") {
		name = name[2:]
	}
	return classify(name)
}

// appendAuthorization keeps the scheme. The token after Bearer has the hash it
// has everywhere; of Basic the decoded user and password have.
func (e *Extractor) appendAuthorization(dst, v []byte) []byte {
	scheme, rest, found := bytes.Cut(v, []byte{' '})
	if !found {
		return e.hash.append(dst, KindToken, v)
	}
	dst = append(append(dst, scheme...), ' ')
	rest = trim(rest)
	if equalFold(scheme, "basic") {
		if user, password, ok := bytes.Cut(e.decodeBase64(rest), []byte{':'}); ok {
			dst = append(e.hash.append(dst, KindAccount, user), ':')
			return e.hash.append(dst, KindPassword, password)
		}
	}
	if equalFold(scheme, "apikey") || equalFold(scheme, "api-key") {
		return e.hash.append(dst, KindAPIKey, rest)
	}
	return e.hash.append(dst, KindToken, rest)
}

// appendCookie appends name=value with white space and quotes as sent and the
// value hashed.
func (e *Extractor) appendCookie(dst, pair []byte) []byte {
	name, val, found := bytes.Cut(pair, []byte{'='})
	if !found {
		name, val = nil, pair
	}
	bare := unquote(trim(val))
	if len(bare) == 0 {
		return append(dst, pair...)
	}
	if found {
		dst = append(append(dst, name...), '=')
	}
	return e.hash.append(dst, KindToken, bare)
}
