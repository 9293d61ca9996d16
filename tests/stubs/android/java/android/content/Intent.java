package android.content;

/** Stub of https://developer.android.com/reference/android/content/Intent: the declarations that the packages use, each with its anchor on that page. */
public class Intent {
    // #ACTION_GET_CONTENT
    public static final String ACTION_GET_CONTENT = "android.intent.action.GET_CONTENT";

    // #Intent(java.lang.String)
    public Intent(String action) {}

    // #setType(java.lang.String)
    public Intent setType(String type) {
        return this;
    }

    // #getData()
    public android.net.Uri getData() {
        return null;
    }
}
