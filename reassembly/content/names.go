package content

import "bytes"

// class is what a field's name says about its value. Classes are bits: a
// password is a secret too.
type class uint16

const (
	classPassword class = 1 << iota // a password or PIN: counts as a password field
	classAccount                    // names an account; hashed in URLs
	classWeak                       // names an account beside a password, anything else elsewhere; not hashed in URLs
	classSecret                     // hashed in URLs and header values
	classAPIKey                     // a secret that is an API key
	classIssued                     // a session token where a response names it so
	classSession                    // a session token where a request names it so
	classGrant                      // OAuth 2.0 grant_type
	classCode                       // holds an error code where a response names it so
	classCall                       // says at the top of a request which operation it calls
)

// nameInfo is the class of a name, and its rank: among names of accounts or of
// error codes the lowest wins, of classCall it says what is there.
type nameInfo struct {
	class class
	rank  uint8
}

// maxName is how many octets of a name are looked at.
const maxName = 64

// The closed lists. A name is compared by its last component (after any of
// . [ ] : $ / as in user[password], j_security:password, ctl00$txtPassword),
// percent-decoded, without _ - and spaces, in lower case.
var (
	// accountNames in order of preference; those after the blank are weak.
	accountNames = []string{
		"username", "user", "login", "loginname", "loginid", "userid", "userlogin", "userlogon", "logon", "logonid",
		"uname", "usr", "useremail", "emailaddress", "email", "mail", "account", "accountname", "accountid", "acct",
		"acctid", "customer", "customerid", "customernumber", "customerno", "clientnumber", "memberid", "membernumber",
		"memberno", "phone", "phonenumber", "mobile", "mobilenumber", "msisdn", "telephone", "jusername", "principal",
		"screenname", "kundennummer", "benutzername", "anmeldename", "identifiant", "utilisateur", "usuario", "cpf", "dni",
		"personnummer", "accountnumber", "accountno", "iban",
		"",
		"identifier", "uid", "handle", "nickname", "nick", "log", "name", "id",
	}
	passwordNames = []string{
		"pass", "passw", "pwd", "pw", "psw", "pswd", "pword", "passcode", "pin", "pincode", "mpin", "tpin", "userpass",
		"userpwd", "userpin", "loginpass", "loginpwd", "loginpin", "logonpass", "newpass", "newpwd", "oldpass", "oldpwd",
		"txtpwd", "txtpass", "kennwort", "motdepasse", "mdp", "contrasena", "contrasenia", "clave", "senha", "wachtwoord",
		"heslo", "haslo", "parola", "parole", "losenord", "adgangskode", "salasana", "jelszo", "lozinka", "geslo",
	}
	// passwordParts make a name a password's wherever they stand in it …
	passwordParts = []string{"password", "passwd", "passphrase", "passwort"}
	// … unless the name begins or ends so.
	notPasswordStart = []string{"remember", "forgot", "show", "save", "haspass", "ispass", "onetime", "need", "require", "allow"}
	notPasswordEnd   = []string{"url", "uri", "hint", "expired", "expires", "expiry", "policy", "strength", "length", "type", "age", "link"}

	secretNames = []string{
		"key", "session", "sessionid", "sessid", "sid", "jsessionid", "phpsessid", "sessionkey", "jwt", "auth",
		"authorization", "bearer", "credential", "credentials", "cred", "creds", "code", "authcode", "authorizationcode",
		"devicecode", "usercode", "codeverifier", "otp", "otpcode", "totp", "hotp", "onetimecode", "mfa", "mfacode",
		"tan", "smscode", "smstan", "verificationcode", "confirmationcode", "securitycode", "securityanswer", "answer",
		"card", "cardnumber", "cardno", "cardnum", "ccnumber", "cc", "ccnum", "creditcard", "debitcard", "pan", "cvv",
		"cvv2", "cvc", "cvc2", "ccv", "csc", "ssn", "socialsecuritynumber", "signature", "sig", "xamzsignature",
		"xamzcredential", "assertion", "clientassertion", "samlresponse", "samlrequest", "ticket", "accesskey",
		"accesskeyid", "awsaccesskeyid", "privatekey", "authkey", "signingkey", "encryptionkey", "cookie",
	}
	// secretEnds make a name a secret's at the end of it.
	secretEnds  = []string{"token", "secret", "sessionid", "apikey", "secretkey", "sharedkey", "subscriptionkey", "accesskey"}
	apiKeyNames = []string{
		"apikey", "xapikey", "apitoken", "subscriptionkey", "ocpapimsubscriptionkey", "xfunctionskey", "xgoogapikey",
		"appkey", "developerkey", "devkey",
	}
	// issuedNames are those of tokens in the JSON of a response.
	issuedNames = []string{
		"accesstoken", "token", "jwt", "idtoken", "refreshtoken", "sessiontoken", "authtoken", "sessionid", "session",
		"sid", "bearer", "bearertoken", "authenticationtoken", "usertoken", "apitoken", "jwttoken", "logintoken", "ticket",
	}
	// sessionNames are those of tokens in the query or body of a request. A
	// plain token there is as often one against request forgery.
	sessionNames = []string{
		"accesstoken", "idtoken", "refreshtoken", "sessiontoken", "authtoken", "sessionid", "jsessionid", "phpsessid",
		"jwt", "bearertoken", "usertoken",
	}
	// codeNames are those of error codes in the JSON of a response, in order of
	// preference.
	codeNames = []string{
		"errorcode", "errcode", "responsecode", "resultcode", "returncode", "statuscode", "code", "error", "err",
		"errortype", "reason", "reasoncode", "result", "outcome", "status", "type", "success",
		"authenticated", "ok", "valid", "faultcode",
	}
	grantNames = []string{"granttype"}
)

// names maps a name in its compared form to what it says.
var names = buildNames()

func buildNames() map[string]nameInfo {
	m := make(map[string]nameInfo)
	add := func(c class, list []string, ranked bool) {
		for i, name := range list {
			info := m[name]
			info.class |= c
			if ranked {
				info.rank = uint8(i)
			}
			m[name] = info
		}
	}
	weak := false
	for i, name := range accountNames {
		switch {
		case name == "":
			weak = true
		case weak:
			m[name] = nameInfo{classWeak, uint8(i)}
		default:
			m[name] = nameInfo{classAccount, uint8(i)}
		}
	}
	add(classPassword, passwordNames, false)
	add(classSecret, secretNames, false)
	add(classSecret|classAPIKey, apiKeyNames, false)
	add(classSecret|classIssued, issuedNames, false)
	add(classSecret|classSession, sessionNames, false)
	add(classGrant, grantNames, false)
	add(classCode, codeNames, true)
	add(classCall, callNames, true)
	return m
}

// classify returns what a name, already percent-decoded or unescaped, says.
func classify(name []byte) nameInfo {
	var buf [maxName]byte
	n := compared(buf[:0], name)
	if len(n) == 0 {
		return nameInfo{}
	}
	info := names[string(n)]
	if info.class&(classPassword|classSecret) != 0 {
		return info
	}
	for _, part := range passwordParts {
		if bytes.Contains(n, []byte(part)) {
			if beginsWithAny(n, notPasswordStart) || endsWithAny(n, notPasswordEnd) {
				info.class |= classSecret
			} else {
				info.class |= classPassword
			}
			return info
		}
	}
	switch {
	case endsWithAny(n, secretEnds):
		info.class |= classSecret
	case info.class == 0 && endsWithAny(n, accountEnds):
		info = nameInfo{classAccount, 0}
	}
	return info
}

// accountEnds make a name an account's at the end of it: txtUserName,
// customer_email.
var accountEnds = []string{"username", "userid", "useremail", "loginid", "loginname"}

// compared appends name in the form in which it is compared; nothing of a name
// that is longer than dst can hold but its end.
func compared(dst, name []byte) []byte {
	if len(name) > 4*maxName {
		name = name[len(name)-4*maxName:]
	}
	next := false // a component has ended: the next octet begins another
	for _, c := range name {
		switch c {
		case '.', '[', ':', '$', '/', '{', '(':
			next = true
		case ']', '_', '-', ' ', '\t', '"', '\'', '}', ')':
		default:
			if next {
				dst, next = dst[:0], false
			}
			if len(dst) == cap(dst) {
				copy(dst, dst[1:])
				dst = dst[:len(dst)-1]
			}
			dst = append(dst, lower(c))
		}
	}
	return dst
}

func beginsWithAny(n []byte, list []string) bool {
	for _, s := range list {
		if len(n) >= len(s) && string(n[:len(s)]) == s {
			return true
		}
	}
	return false
}

func endsWithAny(n []byte, list []string) bool {
	for _, s := range list {
		if len(n) >= len(s) && string(n[len(n)-len(s):]) == s {
			return true
		}
	}
	return false
}

// hashed reports whether the values under such a name are hashed in URLs and
// header values, and as what.
func (i nameInfo) hashed() (Kind, bool) {
	switch {
	case i.class&classPassword != 0:
		return KindPassword, true
	case i.class&classAPIKey != 0:
		return KindAPIKey, true
	case i.class&classSecret != 0:
		return KindToken, true
	case i.class&classAccount != 0:
		return KindAccount, true
	}
	return 0, false
}
