package content

import (
	"hash/maphash"
	"math"

	"offpath/reassembly/message"
)

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

// shape is what the field names of a head say, whatever the values. A program
// sends few, so shapes are remembered.
type shape struct {
	names []byte   // every name as sent and then its length
	lower []string // the names in lower case, pseudo-header fields left out; nil in a shape that is not remembered
	used  []use    // the fields that have a role, in wire order
	roles uint32   // bit n: there is a field in role n
}

// has reports whether there is a field in a role.
func (s *shape) has(r role) bool { return s.roles>>r&1 != 0 }

// use is the role of the field at an index.
type use struct {
	index int32
	role  role
}

// Bounds of the shapeTable, per worker: 256 shapes of at most 2 KiB of names.
const (
	shapeSlots    = 1 << 8
	maxShapeNames = 2 << 10
)

// shapeTable remembers shapes that were seen more than once. It is direct
// mapped: a shape that comes twice in a row in its slot takes the slot over.
type shapeTable struct {
	seed  maphash.Seed
	slots []shapeSlot
	names []byte // of the head at hand
	once  shape  // of the head at hand, if the table doesn't hold it
}

type shapeSlot struct {
	last uint64 // hash of the last shape that missed
	shape
}

func newShapeTable() shapeTable {
	return shapeTable{seed: maphash.MakeSeed(), slots: make([]shapeSlot, shapeSlots)}
}

// get returns the shape of a head, valid until the next call.
func (t *shapeTable) get(head *message.Head) *shape {
	names := t.names[:0]
	for i := range head.Fields {
		name := head.Fields[i].Name
		if len(name) > math.MaxUint8 || len(names) > maxShapeNames {
			t.once.set(head)
			return &t.once
		}
		names = append(append(names, name...), byte(len(name)))
	}
	t.names = names
	h := maphash.Bytes(t.seed, names)
	slot := &t.slots[h%shapeSlots]
	switch {
	case slot.names != nil && string(slot.names) == string(names):
		return &slot.shape
	case slot.last == h:
		slot.shape = shape{names: append([]byte{}, names...), lower: lowerNames(head)}
		slot.set(head)
		return &slot.shape
	}
	slot.last = h
	t.once.set(head)
	return &t.once
}

// set finds the fields that have a role.
func (s *shape) set(head *message.Head) {
	var buf [longestRole]byte
	s.used, s.roles = s.used[:0], 0
	for i := range head.Fields {
		if name := head.Fields[i].Name; len(name) <= longestRole {
			if r := roleNames[string(appendLower(buf[:0], name))]; r != roleNone {
				s.used = append(s.used, use{int32(i), r})
				s.roles |= 1 << r
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
