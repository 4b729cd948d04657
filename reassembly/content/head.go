package content

import "offpath/reassembly/message"

// fields are the header fields that matter to every message, found in one pass;
// of several with the same name the first.
type fields struct {
	host, contentType, referer, userAgent, authorization, location []byte

	encoding  []byte // Content-Encoding
	encodings int    // how many such fields
	cookies   int    // Cookie or Set-Cookie fields
	apiKey    []byte
	token     []byte // a session token in a field of its own
}

func scanFields(head *message.Head) (f fields) {
	first := func(dst *[]byte, value []byte) {
		if *dst == nil {
			*dst = value
		}
	}
	for i := range head.Fields {
		name, value := head.Fields[i].Name, head.Fields[i].Value
		is := func(low string) bool { return message.EqualFold(name, low) }
		switch len(name) {
		case 4:
			if is("host") {
				first(&f.host, value)
			}
		case 6:
			if is("cookie") {
				f.cookies++
			} else if is("apikey") {
				first(&f.apiKey, value)
			}
		case 7:
			if is("referer") {
				first(&f.referer, value)
			} else if is("api-key") {
				first(&f.apiKey, value)
			}
		case 8:
			if is("location") {
				first(&f.location, value)
			} else if is("x-apikey") {
				first(&f.apiKey, value)
			}
		case 9:
			if is("x-api-key") {
				first(&f.apiKey, value)
			}
		case 10:
			if is("user-agent") {
				first(&f.userAgent, value)
			} else if is("set-cookie") {
				f.cookies++
			} else if is(":authority") {
				first(&f.host, value)
			}
		case 11:
			if is("x-api-token") {
				first(&f.apiKey, value)
			}
		case 12:
			if is("content-type") {
				first(&f.contentType, value)
			} else if is("x-auth-token") || is("x-session-id") {
				first(&f.token, value)
			}
		case 13:
			if is("authorization") {
				first(&f.authorization, value)
			}
		case 14:
			if is("x-access-token") {
				first(&f.token, value)
			} else if is("x-goog-api-key") {
				first(&f.apiKey, value)
			}
		case 15:
			if is("x-session-token") || is("x-subject-token") {
				first(&f.token, value)
			} else if is("x-functions-key") {
				first(&f.apiKey, value)
			}
		case 16:
			if is("content-encoding") {
				first(&f.encoding, value)
				f.encodings++
			}
		case 25:
			if is("ocp-apim-subscription-key") {
				first(&f.apiKey, value)
			}
		}
	}
	return f
}
