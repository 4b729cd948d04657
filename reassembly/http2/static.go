package http2

// role is what a field is to this package.
type role uint8

const (
	roleNone role = iota
	roleAuthority
	roleMethod
	rolePath
	roleScheme
	roleProtocol
	roleStatus
	rolePseudo // a pseudo-header field that is none of these
	roleHost
	roleContentLength
	roleContentType
	roleTE
	roleConnection // fields that HTTP/2 does not have (RFC 9113 section 8.2.2)
	roleGRPCStatus
)

// pseudo reports whether a field is a pseudo-header field.
func (r role) pseudo() bool { return roleAuthority <= r && r <= rolePseudo }

// roleOf finds the role of a field by its name as sent.
func roleOf(name []byte) role {
	switch string(name) {
	case ":authority":
		return roleAuthority
	case ":method":
		return roleMethod
	case ":path":
		return rolePath
	case ":scheme":
		return roleScheme
	case ":protocol":
		return roleProtocol
	case ":status":
		return roleStatus
	case "host":
		return roleHost
	case "content-length":
		return roleContentLength
	case "content-type":
		return roleContentType
	case "te":
		return roleTE
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return roleConnection
	case "grpc-status":
		return roleGRPCStatus
	}
	if len(name) > 0 && name[0] == ':' {
		return rolePseudo
	}
	return roleNone
}

// staticEntries is the number of entries of the static table.
const staticEntries = 61

// staticField is an entry of the static table.
type staticField struct {
	name, value []byte
	role        role
}

// static is the static table (RFC 7541 appendix A), by index; the first is none.
var static = func() (table [staticEntries + 1]staticField) {
	for i, f := range [staticEntries][2]string{
		{":authority", ""}, {":method", "GET"}, {":method", "POST"}, {":path", "/"}, {":path", "/index.html"},
		{":scheme", "http"}, {":scheme", "https"}, {":status", "200"}, {":status", "204"}, {":status", "206"},
		{":status", "304"}, {":status", "400"}, {":status", "404"}, {":status", "500"}, {"accept-charset", ""},
		{"accept-encoding", "gzip, deflate"}, {"accept-language", ""}, {"accept-ranges", ""}, {"accept", ""},
		{"access-control-allow-origin", ""}, {"age", ""}, {"allow", ""}, {"authorization", ""}, {"cache-control", ""},
		{"content-disposition", ""}, {"content-encoding", ""}, {"content-language", ""}, {"content-length", ""},
		{"content-location", ""}, {"content-range", ""}, {"content-type", ""}, {"cookie", ""}, {"date", ""}, {"etag", ""},
		{"expect", ""}, {"expires", ""}, {"from", ""}, {"host", ""}, {"if-match", ""}, {"if-modified-since", ""},
		{"if-none-match", ""}, {"if-range", ""}, {"if-unmodified-since", ""}, {"last-modified", ""}, {"link", ""},
		{"location", ""}, {"max-forwards", ""}, {"proxy-authenticate", ""}, {"proxy-authorization", ""}, {"range", ""},
		{"referer", ""}, {"refresh", ""}, {"retry-after", ""}, {"server", ""}, {"set-cookie", ""},
		{"strict-transport-security", ""}, {"transfer-encoding", ""}, {"user-agent", ""}, {"vary", ""}, {"via", ""},
		{"www-authenticate", ""},
	} {
		name := []byte(f[0])
		table[i+1] = staticField{name, []byte(f[1]), roleOf(name)}
	}
	return table
}()
