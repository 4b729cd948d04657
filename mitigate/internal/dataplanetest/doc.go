// Package dataplanetest stands in for HAProxy's Data Plane API, which can't be had here, in
// front of a real HAProxy: a request to it becomes commands of the Runtime API as in the
// API's own source, and what counts is what clients of that HAProxy are answered.
//
// It has the paths of versions 2 and 3 (haproxytech/dataplaneapi 2.9 and 3.4,
// haproxytech/client-native 5.1 and 6.4) that are about maps, stick tables and the process,
// with what is awkward about them: a whole map that is appended or replaced by its length,
// and may lose its last line; files that follow every ten seconds, or when asked; entries
// of which the first word of the value is kept; a 404 for whatever goes wrong with HAProxy;
// networks of IPv6 that are set, and then answered 404 for, or added twice. It has no
// configuration, storage or transactions.
package dataplanetest
