package bank

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

const ofxHead = "OFXHEADER:100\r\nDATA:OFXSGML\r\nVERSION:102\r\nSECURITY:NONE\r\nENCODING:USASCII\r\nCHARSET:1252\r\nCOMPRESSION:NONE\r\nOLDFILEUID:NONE\r\nNEWFILEUID:NONE\r\n\r\n"

// OFXSignon is the body of a statement request with the given credentials
// (OFX 1.0.2, chapters 2 and 11).
func OFXSignon(user, password, account string) string {
	return ofxHead + fmt.Sprintf("<OFX><SIGNONMSGSRQV1><SONRQ><DTCLIENT>20261122120000<USERID>%s<USERPASS>%s<LANGUAGE>ENG<FI><ORG>NB<FID>4711</FI><APPID>QWIN<APPVER>2700</SONRQ></SIGNONMSGSRQV1>"+
		"<BANKMSGSRQV1><STMTTRNRQ><TRNUID>1001<STMTRQ><BANKACCTFROM><BANKID>121099999<ACCTID>%s<ACCTTYPE>CHECKING</BANKACCTFROM><INCTRAN><INCLUDE>Y</INCTRAN></STMTRQ></STMTTRNRQ></BANKMSGSRQV1></OFX>\r\n", user, password, account)
}

// ofx answers a signon with a statement. The HTTP status is 200 whatever the
// password was: the outcome is in SONRS/STATUS/CODE (0, or 15500: signon
// invalid).
func (b *Bank) ofx(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || !strings.Contains(string(body), "<SONRQ>") {
		http.Error(w, "not an OFX signon", http.StatusBadRequest)
		return
	}
	c, ok := b.check(OFX, element(body, "USERID"), element(body, "USERPASS"))
	w.Header().Set("Content-Type", "application/x-ofx")
	if !ok {
		fmt.Fprint(w, ofxHead, "<OFX><SIGNONMSGSRSV1><SONRS><STATUS><CODE>15500<SEVERITY>ERROR<MESSAGE>Signon invalid</STATUS><DTSERVER>20261122120000<LANGUAGE>ENG</SONRS></SIGNONMSGSRSV1></OFX>\r\n")
		return
	}
	fmt.Fprintf(w, "%s<OFX><SIGNONMSGSRSV1><SONRS><STATUS><CODE>0<SEVERITY>INFO</STATUS><DTSERVER>20261122120000<LANGUAGE>ENG</SONRS></SIGNONMSGSRSV1>"+
		"<BANKMSGSRSV1><STMTTRNRS><TRNUID>1001<STATUS><CODE>0<SEVERITY>INFO</STATUS><STMTRS><CURDEF>EUR<BANKACCTFROM><BANKID>121099999<ACCTID>%s<ACCTTYPE>CHECKING</BANKACCTFROM><LEDGERBAL><BALAMT>%d.%02d<DTASOF>20261122</LEDGERBAL></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>\r\n",
		ofxHead, c.Account, c.Index%9000, c.Index%100)
}

// element returns the value of the first SGML element of the name, which ends
// where the next one begins.
func element(body []byte, name string) string {
	_, value, _ := strings.Cut(string(body), "<"+name+">")
	if end := strings.IndexAny(value, "<\r\n"); end >= 0 {
		value = value[:end]
	}
	return value
}
