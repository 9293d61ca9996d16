package org.json;

import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;

/** Stub of https://developer.android.com/reference/org/json/JSONObject: what golden.json needs. */
public class JSONObject {
    private final Map<String, Object> members = new LinkedHashMap<>();
    private final String text;
    private int position;

    // #JSONObject(java.lang.String)
    public JSONObject(String json) {
        this(json, 0);
    }

    private JSONObject(String text, int start) {
        this.text = text;
        position = start;
        expect('{');
        while (next() != '}') {
            String key = string();
            expect(':');
            members.put(key, value());
            if (next() == ',') position++;
        }
        position++;
    }

    // #keys()
    public Iterator<String> keys() {
        return members.keySet().iterator();
    }

    // #getJSONObject(java.lang.String)
    public JSONObject getJSONObject(String name) {
        return (JSONObject) members.get(name);
    }

    // #getString(java.lang.String)
    public String getString(String name) {
        return (String) members.get(name);
    }

    // #getDouble(java.lang.String)
    public double getDouble(String name) {
        return Double.parseDouble((String) members.get(name));
    }

    private Object value() {
        char first = next();
        if (first == '"') return string();
        if (first == '{') {
            JSONObject object = new JSONObject(text, position);
            position = object.position;
            return object;
        }
        if (first == '[') {
            position++;
            while (next() != ']') {
                value();
                if (next() == ',') position++;
            }
            position++;
            return null;
        }
        int start = position;
        while ("+-.0123456789abcdefghijklmnopqrstuvwxyzE".indexOf(text.charAt(position)) >= 0) position++;
        return text.substring(start, position);
    }

    private String string() {
        expect('"');
        int end = text.indexOf('"', position);
        String result = text.substring(position, end);
        position = end + 1;
        return result;
    }

    private char next() {
        while (Character.isWhitespace(text.charAt(position))) position++;
        return text.charAt(position);
    }

    private void expect(char wanted) {
        if (next() != wanted) throw new IllegalArgumentException("no " + wanted + " at " + position);
        position++;
    }
}
