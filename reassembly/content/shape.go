package content

import "offpath/reassembly/message"

// role is what a header field is to this package.
type role uint8

const (
	roleNone role = iota
	roleHost
	roleCookie
	roleSetCookie
	roleAPIKey
	roleToken // a session token in a field of its own
	roleReferer
	roleLocation
	roleUserAgent
	roleContentType
	roleContentEncoding
	roleAuthorization
	roleForwardedFor
	roleForwarded
	roleRealIP
	roleCFConnectingIP
	roleTrueClientIP
	roles = iota
)

// roleNames are the fields that have a role, in lower case.
var roleNames = map[string]role{
	"host": roleHost, ":authority": roleHost,
	"cookie": roleCookie, "set-cookie": roleSetCookie,
	"apikey": roleAPIKey, "api-key": roleAPIKey, "x-apikey": roleAPIKey, "x-api-key": roleAPIKey,
	"x-api-token": roleAPIKey, "x-goog-api-key": roleAPIKey, "x-functions-key": roleAPIKey,
	"ocp-apim-subscription-key": roleAPIKey,
	"x-auth-token":              roleToken, "x-session-id": roleToken, "x-access-token": roleToken,
	"x-session-token": roleToken, "x-subject-token": roleToken,
	"referer": roleReferer, "location": roleLocation, "user-agent": roleUserAgent,
	"content-type": roleContentType, "content-encoding": roleContentEncoding, "authorization": roleAuthorization,
	"x-forwarded-for": roleForwardedFor, "forwarded": roleForwarded, "x-real-ip": roleRealIP,
	"cf-connecting-ip": roleCFConnectingIP, "true-client-ip": roleTrueClientIP,
}

// longestRole is the most octets of a name in roleNames.
const longestRole = 25

// shape is what a message.Shape says to this package.
type shape struct {
	of    *message.Shape // nil in a shape that is not remembered
	lower []string       // the names in lower case, pseudo-header fields left out; nil if not remembered
	used  []use          // the fields that have a role, in wire order
	first [roles]int32   // index of the first field in each role, plus one; 0: there is none
}

// has reports whether there is a field in a role.
func (s *shape) has(r role) bool { return s.first[r] != 0 }

// use is the role of the field at an index.
type use struct {
	index int32
	role  role
}

// shapeTable holds what the shapes of a parser say.
type shapeTable struct {
	known []shape
	once  shape // of the head at hand, if it has no message.Shape
}

func newShapeTable() shapeTable {
	return shapeTable{known: make([]shape, message.ShapeSlots)}
}

// get returns the shape of a head, valid until the next call.
func (t *shapeTable) get(head *message.Head) *shape {
	if head.Shape == nil || len(head.Shape.Sizes) != len(head.Fields) {
		t.once.set(head)
		return &t.once
	}
	s := &t.known[head.Shape.Slot]
	if s.of != head.Shape {
		*s = shape{of: head.Shape, lower: lowerNames(head)}
		s.set(head)
	}
	return s
}

// set finds the fields that have a role.
func (s *shape) set(head *message.Head) {
	var buf [longestRole]byte
	s.used, s.first = s.used[:0], [roles]int32{}
	for i := range head.Fields {
		if name := head.Fields[i].Name; len(name) <= longestRole {
			if r := roleNames[string(appendLower(buf[:0], name))]; r != roleNone {
				s.used = append(s.used, use{int32(i), r})
				if s.first[r] == 0 {
					s.first[r] = int32(i + 1)
				}
			}
		}
	}
}

func lowerNames(head *message.Head) []string {
	list := make([]string, 0, len(head.Fields))
	for _, f := range head.Fields {
		if isHeaderName(f.Name) {
			list = append(list, string(appendLower(nil, f.Name)))
		}
	}
	return list
}

// isHeaderName reports whether a field is one of the header section, and no
// pseudo-header field of HTTP/2.
func isHeaderName(name []byte) bool { return len(name) > 0 && name[0] != ':' }
