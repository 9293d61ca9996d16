package android.app;

import android.content.Context;
import android.content.Intent;
import android.os.Bundle;
import android.view.View;

/** Stub of https://developer.android.com/reference/android/app/Activity: the declarations that the packages use, each with its anchor on that page. */
public class Activity extends Context {
    // #onCreate(android.os.Bundle)
    protected void onCreate(Bundle savedInstanceState) {}

    // #onDestroy()
    protected void onDestroy() {}

    // #onActivityResult(int, int, android.content.Intent)
    protected void onActivityResult(int requestCode, int resultCode, Intent data) {}

    // #startActivityForResult(android.content.Intent, int)
    public void startActivityForResult(Intent intent, int requestCode) {}

    // #setContentView(android.view.View)
    public void setContentView(View view) {}
}
