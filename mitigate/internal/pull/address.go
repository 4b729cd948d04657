package pull

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// maxSocketPath is the longest path of a unix socket, octets.
const maxSocketPath = 107

// CheckAddress says what is wrong with unix:PATH or tcp:HOST:PORT to listen on; "" if
// nothing is. HOST is an address or localhost, since a name may be somewhere else
// tomorrow; empty it is every address.
func CheckAddress(address string) string {
	kind, rest, _ := strings.Cut(address, ":")
	switch kind {
	case "unix":
		switch {
		case !filepath.IsAbs(rest):
			return "has no absolute path"
		case len(rest) > maxSocketPath:
			return "has a longer path than a unix socket may"
		}
		return ""
	case "tcp":
		host, port, err := net.SplitHostPort(rest)
		if err != nil {
			return "is not tcp:HOST:PORT"
		}
		if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
			return "has a host that is no address"
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "has no port from 1 to 65535"
		}
		return ""
	}
	return "is neither unix:PATH nor tcp:HOST:PORT"
}

// Local says whether only programs of this machine reach an address.
func Local(address string) bool {
	kind, rest, _ := strings.Cut(address, ":")
	if kind == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(rest)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// URL is how a consumer names the root of a server. An address that stands for every one
// is written as that of an example, a unix socket as many programs have it.
func URL(address string, secure bool) (string, error) {
	if problem := CheckAddress(address); problem != "" {
		return "", fmt.Errorf("address %q %s", address, problem)
	}
	if strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "", fmt.Errorf("address %q holds spaces or control characters", address)
	}
	kind, rest, _ := strings.Cut(address, ":")
	if kind == "unix" {
		return "http+unix://" + rest + ":/", nil
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		return "", err
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "offpath.example"
	}
	scheme := "http"
	if secure {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port) + "/", nil
}
