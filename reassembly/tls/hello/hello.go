package hello

// MaxMessage is the longest hello that is read, in octets. RFC 8446 allows 16 MiB;
// with post-quantum key shares they are of some KiB.
const MaxMessage = 64 << 10

// Versions on the wire (RFC 8446 section 4.1.2 and before).
const (
	VersionSSL2  uint16 = 0x0002
	VersionSSL3  uint16 = 0x0300
	VersionTLS10 uint16 = 0x0301
	VersionTLS11 uint16 = 0x0302
	VersionTLS12 uint16 = 0x0303
	VersionTLS13 uint16 = 0x0304
)

// Extension types that are read (IANA TLS ExtensionType Values).
const (
	extServerName           = 0
	extSupportedGroups      = 10
	extPointFormats         = 11
	extSignatureAlgorithms  = 13
	extALPN                 = 16
	extEncryptThenMAC       = 22
	extExtendedMasterSecret = 23
	extSessionTicket        = 35
	extPreSharedKey         = 41
	extEarlyData            = 42
	extSupportedVersions    = 43
	extECH                  = 0xfe0d
)

// Client is a ClientHello.
type Client struct {
	LegacyVersion uint16   // as in the message; see Version for what is offered
	Random        [32]byte // that of SSL 2.0 is padded on the left with zeros
	SessionID     []byte   // at most 32 octets in a correct message
	Suites        []uint16 // cipher suites as sent
	Compressions  []byte
	Extensions    []uint16 // types as sent

	ServerName          []byte   // host name (RFC 6066 section 3); with ECH that of the outer hello
	Protocols           [][]byte // ALPN (RFC 7301)
	Versions            []uint16 // supported_versions
	Groups              []uint16
	PointFormats        []byte
	SignatureAlgorithms []uint16
	Ticket              []byte // session ticket (RFC 5077); empty if none is presented

	EncryptThenMAC       bool // RFC 7366
	ExtendedMasterSecret bool // RFC 7627
	EarlyData            bool // 0-RTT data follow
	PreSharedKey         bool // resumes, or has an external key
	ECH                  bool // encrypted_client_hello: the server name may be a cover

	SSLv2     bool // in the form of SSL 2.0
	Malformed bool // not to be read to its end, or lengths contradict each other
}

// Server is a ServerHello or HelloRetryRequest.
type Server struct {
	LegacyVersion uint16
	Random        [32]byte
	SessionID     []byte
	Suite         uint16
	Compression   uint8
	Extensions    []uint16

	Protocol             []byte // ALPN; TLS 1.3 has it in EncryptedExtensions
	SelectedVersion      uint16 // of supported_versions; 0 if absent
	EncryptThenMAC       bool
	ExtendedMasterSecret bool
	Ticket               bool // a NewSessionTicket follows (RFC 5077)
	Retry                bool // is a HelloRetryRequest
	Malformed            bool
}

// helloRetryRandom marks a HelloRetryRequest (RFC 8446 section 4.1.3).
var helloRetryRandom = [32]byte{
	0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
	0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
}

// GREASE reports whether a value is reserved to keep peers tolerant (RFC 8701).
func GREASE(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// Version is the highest version that the client offers, GREASE aside.
func (c *Client) Version() uint16 {
	highest := uint16(0)
	for _, v := range c.Versions {
		if !GREASE(v) && v > highest {
			highest = v
		}
	}
	if highest == 0 {
		return c.LegacyVersion
	}
	return highest
}

// Version is the version that the server chose.
func (s *Server) Version() uint16 {
	if s.SelectedVersion != 0 {
		return s.SelectedVersion
	}
	return s.LegacyVersion
}

func (c *Client) reset() {
	*c = Client{
		Suites: c.Suites[:0], Extensions: c.Extensions[:0], Protocols: c.Protocols[:0],
		Versions: c.Versions[:0], Groups: c.Groups[:0], SignatureAlgorithms: c.SignatureAlgorithms[:0],
	}
}

// ParseClient reads the body of a ClientHello into c, whose slices it uses again.
// Views are valid as long as body is.
func ParseClient(body []byte, c *Client) {
	c.reset()
	if len(body) > MaxMessage {
		body, c.Malformed = body[:MaxMessage], true
	}
	m := cursor{data: body}
	c.LegacyVersion = m.u16()
	copy(c.Random[:], m.take(32))
	c.SessionID = m.vector8()
	c.Suites = m.numbers(c.Suites, m.vector16())
	c.Compressions = m.vector8()
	if !m.empty() { // SSL 3.0 knows no extensions
		extensions := cursor{data: m.vector16()}
		for !extensions.empty() {
			kind := extensions.u16()
			data := extensions.vector16()
			if extensions.bad {
				break
			}
			c.Extensions = append(c.Extensions, kind)
			m.bad = m.bad || !c.extension(kind, data)
		}
		m.bad = m.bad || extensions.bad || !m.empty()
	}
	c.Malformed = c.Malformed || m.bad
}

// extension reads one extension, and reports whether it is well formed. The
// first of a kind counts.
func (c *Client) extension(kind uint16, data []byte) bool {
	e := cursor{data: data}
	switch kind {
	case extServerName:
		names := cursor{data: e.vector16()}
		for !names.empty() {
			if t, name := names.u8(), names.vector16(); t == 0 && c.ServerName == nil {
				c.ServerName = name
			}
		}
		e.bad = e.bad || names.bad
	case extSupportedGroups:
		if len(c.Groups) == 0 {
			c.Groups = e.numbers(c.Groups, e.vector16())
		}
		return !e.bad
	case extPointFormats:
		if c.PointFormats == nil {
			c.PointFormats = e.vector8()
		}
		return !e.bad
	case extSignatureAlgorithms:
		if len(c.SignatureAlgorithms) == 0 {
			c.SignatureAlgorithms = e.numbers(c.SignatureAlgorithms, e.vector16())
		}
		return !e.bad
	case extALPN:
		if len(c.Protocols) > 0 {
			return true
		}
		list := cursor{data: e.vector16()}
		for !list.empty() {
			if name := list.vector8(); !list.bad {
				c.Protocols = append(c.Protocols, name)
			}
		}
		return !e.bad && !list.bad
	case extEncryptThenMAC:
		c.EncryptThenMAC = true
	case extExtendedMasterSecret:
		c.ExtendedMasterSecret = true
	case extSessionTicket:
		c.Ticket = data
		return true
	case extPreSharedKey:
		c.PreSharedKey = true
		return true
	case extEarlyData:
		c.EarlyData = true
	case extSupportedVersions:
		if len(c.Versions) == 0 {
			c.Versions = e.numbers(c.Versions, e.vector8())
		}
		return !e.bad
	case extECH:
		c.ECH = true
		return true
	default:
		return true
	}
	return !e.bad
}

// ParseSSLv2 reads a hello in the form of SSL 2.0 into c: the octets after its
// two-octet record header, the message type included.
func ParseSSLv2(record []byte, c *Client) {
	c.reset()
	c.SSLv2 = true
	m := cursor{data: record}
	m.take(1)
	c.LegacyVersion = m.u16()
	suites, id, challenge := int(m.u16()), int(m.u16()), int(m.u16())
	specs := m.take(suites)
	for ; len(specs) >= 3; specs = specs[3:] {
		if specs[0] == 0 { // the others are of SSL 2.0 alone
			c.Suites = append(c.Suites, uint16(specs[1])<<8|uint16(specs[2]))
		}
	}
	c.SessionID = m.take(id)
	if random := m.take(challenge); len(random) > 0 {
		random = random[max(0, len(random)-32):]
		copy(c.Random[32-len(random):], random)
	}
	c.Malformed = m.bad || len(specs) > 0
}

// ParseServer reads the body of a ServerHello into s, whose slices it uses again.
// Views are valid as long as body is.
func ParseServer(body []byte, s *Server) {
	*s = Server{Extensions: s.Extensions[:0]}
	if len(body) > MaxMessage {
		body, s.Malformed = body[:MaxMessage], true
	}
	m := cursor{data: body}
	s.LegacyVersion = m.u16()
	copy(s.Random[:], m.take(32))
	s.Retry = s.Random == helloRetryRandom
	s.SessionID = m.vector8()
	s.Suite = m.u16()
	s.Compression = uint8(m.u8())
	if !m.empty() {
		m.bad = !s.extensions(m.vector16()) || m.bad || !m.empty()
	}
	s.Malformed = s.Malformed || m.bad
}

func (s *Server) extensions(list []byte) bool {
	m := cursor{data: list}
	for !m.empty() {
		kind := m.u16()
		e := cursor{data: m.vector16()}
		if m.bad {
			return false
		}
		s.Extensions = append(s.Extensions, kind)
		switch kind {
		case extALPN:
			names := cursor{data: e.vector16()}
			s.Protocol = names.vector8()
			m.bad = m.bad || names.bad
		case extEncryptThenMAC:
			s.EncryptThenMAC = true
		case extExtendedMasterSecret:
			s.ExtendedMasterSecret = true
		case extSessionTicket:
			s.Ticket = true
		case extSupportedVersions:
			s.SelectedVersion = e.u16()
		}
		m.bad = m.bad || e.bad
	}
	return !m.bad
}

// Encrypted is the EncryptedExtensions of TLS 1.3 (RFC 8446 section 4.3.1).
type Encrypted struct {
	Protocol  []byte // ALPN
	EarlyData bool   // the 0-RTT data were accepted
	Malformed bool
}

// ParseEncrypted reads the body of EncryptedExtensions into e. Views are valid
// as long as body is.
func ParseEncrypted(body []byte, e *Encrypted) {
	*e = Encrypted{}
	m := cursor{data: body}
	list := cursor{data: m.vector16()}
	for !list.empty() {
		kind := list.u16()
		data := cursor{data: list.vector16()}
		switch kind {
		case extALPN:
			names := cursor{data: data.vector16()}
			e.Protocol = names.vector8()
			list.bad = list.bad || names.bad
		case extEarlyData:
			e.EarlyData = !list.bad
		}
		list.bad = list.bad || data.bad
	}
	e.Malformed = m.bad || list.bad || !m.empty()
}
