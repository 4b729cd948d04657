package login

import (
	"strings"

	"offpath/detect/endpoint"
)

// Kind is what the words of a path say about an endpoint.
type Kind uint8

// The kinds of path.
const (
	KindNone    Kind = iota // no word that matters here
	KindLogin               // login, signin …
	KindToken               // auth, session, token …: of login, but also of what follows it
	KindRefresh             // renews a session without a password
	KindSignUp              // makes an account
	KindReset               // forgotten or changed password
	KindOneTime             // second factor
	KindLogout              // ends a session
	KindError               // where a failed login is sent to: error, denied …

	// Of a path's last segment only, see [Purpose].
	KindTransfer // moves money
	KindPayee    // whom money may be sent to
	KindCheckout // buys something
	KindSearch
	KindHealth // whether the application is well
)

// words are single words of a path segment.
var words = map[string]Kind{
	"login": KindLogin, "logon": KindLogin, "signin": KindLogin, "signon": KindLogin, "sonrq": KindLogin,
	"authenticate": KindToken, "authentication": KindToken, "auth": KindToken, "authn": KindToken, "oauth": KindToken, "oauth2": KindToken,
	"session": KindToken, "sessions": KindToken, "token": KindToken, "tokens": KindToken,

	"refresh": KindRefresh, "renew": KindRefresh,
	"register": KindSignUp, "registration": KindSignUp, "signup": KindSignUp, "enroll": KindSignUp, "enrol": KindSignUp, "enrollment": KindSignUp,
	"reset": KindReset, "forgot": KindReset, "forgotten": KindReset, "recover": KindReset, "recovery": KindReset,
	"otp": KindOneTime, "totp": KindOneTime, "mfa": KindOneTime, "2fa": KindOneTime, "verify": KindOneTime, "verification": KindOneTime, "challenge": KindOneTime,
	"logout": KindLogout, "logoff": KindLogout, "signout": KindLogout, "revoke": KindLogout, "introspect": KindLogout,
	"error": KindError, "failed": KindError, "failure": KindError, "denied": KindError,
}

// pairs are words that mean something only together.
var pairs = map[[2]string]Kind{
	{"sign", "in"}: KindLogin, {"log", "in"}: KindLogin, {"sign", "on"}: KindLogin, {"security", "check"}: KindLogin, {"verify", "password"}: KindLogin,
	{"sign", "up"}: KindSignUp, {"create", "account"}: KindSignUp, {"new", "account"}: KindSignUp,
	{"change", "password"}: KindReset, {"update", "password"}: KindReset, {"set", "password"}: KindReset, {"password", "change"}: KindReset,
	{"step", "up"}: KindOneTime, {"second", "factor"}: KindOneTime, {"two", "factor"}: KindOneTime,
	{"sign", "out"}: KindLogout, {"log", "out"}: KindLogout, {"sign", "off"}: KindLogout,
}

// maxWords bounds the words of a segment; the rest says nothing new.
const maxWords = 16

// PathKind reads a path, or an operation's name, from its end: the last
// segment with a word that matters decides, so that /login/verify is a second
// factor and /mfa/login a login. Dot segments take away what they do at the
// server. Within a segment a pair outweighs a word, and what speaks against a
// login outweighs what speaks for one.
func PathKind(path string) Kind {
	back := 0
	path = endpoint.Unreserved(path)
	for path != "" {
		cut := strings.LastIndexByte(path, '/')
		segment := path[cut+1:]
		path = path[:max(cut, 0)]
		if parameter := strings.IndexByte(segment, ';'); parameter >= 0 {
			segment = segment[:parameter]
		}
		switch {
		case segment == "" || segment == ".":
			continue
		case segment == "..":
			back++
			continue
		case back > 0:
			back--
			continue
		case len(segment) > 64:
			continue // an identifier
		}
		var buf [64]byte
		var list [maxWords]string
		if kind := segmentKind(splitWords(list[:0], buf[:0], segment)); kind != KindNone {
			return kind
		}
	}
	return KindNone
}

func segmentKind(list []string) Kind {
	kind := KindNone
	for i, word := range list {
		if i+1 < len(list) {
			if k, ok := pairs[[2]string{word, list[i+1]}]; ok {
				return k
			}
		}
		if k, ok := words[word]; ok && (kind == KindNone || kind == KindToken || kind == KindLogin && k != KindToken) {
			kind = k
		}
	}
	return kind
}

// Words are the words of a name in lower case, cut at everything that is no
// letter or digit and at the humps of camelCase: 16 of them at most.
func Words(name string) []string {
	return splitWords(make([]string, 0, maxWords), nil, name)
}

// splitWords cuts a segment into lower-case words at everything that is no
// letter or digit, and at the humps of camelCase.
func splitWords(list []string, buf []byte, segment string) []string {
	lower := string(appendLower(buf, segment))
	start := -1
	for i := 0; i <= len(segment); i++ {
		inWord := i < len(segment) && isWord(segment[i])
		hump := inWord && i > 0 && isUpper(segment[i]) && isLower(segment[i-1])
		if start >= 0 && (!inWord || hump) {
			if len(list) == cap(list) {
				return list
			}
			list = append(list, lower[start:i])
			start = -1
		}
		if start < 0 && inWord {
			start = i
		}
	}
	return list
}

func appendLower(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if isUpper(c) {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isWord(c byte) bool  { return isLower(c) || isUpper(c) || '0' <= c && c <= '9' }
