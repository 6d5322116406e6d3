// Package chunk cuts files into content-defined pieces and names them.
//
// It owns the chunk's identity (ID, Kind) and the splitters: where, in a
// stream of bytes, one chunk ends and the next begins. A splitter is named in
// the repository's config together with its parameters, so that another can
// come without touching what is stored.
//
// Invariant: for one repository (seed) and one set of Params, the same bytes
// are cut at the same places for ever, whatever the sizes in which the caller
// gathers them. Cuts depend only on the bytes since the previous cut, so two
// streams that share content fall into step a chunk or two after the place
// where they begin to agree.
//
// The boundaries depend on a secret seed: the sizes of stored chunks do not
// tell which known file was stored. The seed hides; it does not authenticate.
//
// It refuses: unknown chunker names (ErrUnknownChunker) and parameters outside
// their bounds. It does no I/O, keeps no data, and computes no ids: that takes
// a key, which seal.Keys has.
package chunk
