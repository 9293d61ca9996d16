package hydramobile.template

/** What may go wrong. Every method of the net throws one of these, or nothing. */
sealed class NetException(message: String, cause: Throwable? = null) : Exception(message, cause) {
    /** A model file is not in the app's assets. */
    class MissingFile(val file: String, cause: Throwable? = null) :
        NetException("the app's assets have no $file: does the app depend on the library module?", cause)

    /** A model file is not the one that was judged: its sha256 is another. */
    class CorruptFile(val file: String, val sha256: String, val expected: String) :
        NetException("$file has the sha256 $sha256, not $expected: build the app again from an unchanged package")

    /** A photo cannot be read, or is larger than the limit. */
    class WrongPhoto(reason: String, cause: Throwable? = null) : NetException("the photo cannot be used: $reason", cause)

    /** An input has the wrong number of elements, or an element outside its range. */
    class WrongInput(val input: String, reason: String) : NetException("the input '$input' cannot be used: $reason")

    /** The net, or the features, were used after close(). */
    class Closed(what: String) : NetException("$what was closed: load the net, or encode the photo, again")

    /** The app's memory is used up. */
    class OutOfMemory(cause: Throwable) : NetException("there is not enough memory for this photo", cause)

    /** LiteRT cannot load or run the net, on the CPU either. */
    class EngineFailed(val step: String, cause: Throwable) :
        NetException("LiteRT failed in '$step': ${cause.message}", cause)
}
