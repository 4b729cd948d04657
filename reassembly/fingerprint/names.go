package fingerprint

import (
	"strings"

	"offpath/reassembly/message"
)

// field is a header field that counts, by its place in the list.
type field uint8

const (
	accept field = iota
	acceptCharset
	acceptEncoding
	acceptLanguage
	chUA
	chUAMobile
	chUAPlatform
	fetchDest
	fetchMode
	fetchSite
	userAgent
	counted           // how many stand in the second line
	te      = counted // in the wire fingerprint alone
	kinds   = counted + 1
)

var fieldNames = [kinds]string{
	"accept", "accept-charset", "accept-encoding", "accept-language",
	"sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform",
	"sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "user-agent", "te",
}

// Names says which header fields count. The zero value is the whole list.
type Names struct {
	ignored [kinds]bool
}

// NewNames returns the list without the names to be ignored, whatever their case;
// a name that is not in the list changes nothing.
func NewNames(ignore []string) Names {
	var n Names
	for _, name := range ignore {
		for kind := range kinds {
			if strings.EqualFold(name, fieldNames[kind]) {
				n.ignored[kind] = true
			}
		}
	}
	return n
}

// kind returns which field a name is of; false if it does not count.
func (n *Names) kind(name []byte) (field, bool) {
	for kind := range kinds {
		if message.EqualFold(name, fieldNames[kind]) {
			return kind, !n.ignored[kind]
		}
	}
	return 0, false
}
