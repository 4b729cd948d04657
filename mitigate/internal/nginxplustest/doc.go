// Package nginxplustest is what stands in for NGINX Plus in tests, which can't be had: its
// REST API as the vendor describes it ([API]), with the key-value zones of the
// configuration that it is given, and an open-source NGINX that enforces them ([Server]).
// There the lines of the configuration that only NGINX Plus understands (keyval_zone and
// keyval) are replaced by files that the API writes, read by a reload; all others are as
// they are printed.
//
// [Contract] holds each request and answer against the vendor's description.
package nginxplustest
