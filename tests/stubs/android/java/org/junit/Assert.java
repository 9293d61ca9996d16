package org.junit;

/** Stub of https://junit.org/junit4/javadoc/4.13/org/junit/Assert.html: the declarations that the packages use, each with its anchor on that page. */
public class Assert {
    // #assertTrue(boolean)
    public static void assertTrue(boolean condition) {
        assertTrue("false", condition);
    }

    // #assertTrue(java.lang.String, boolean)
    public static void assertTrue(String message, boolean condition) {
        if (!condition) throw new AssertionError(message);
    }

    // #assertEquals(java.lang.Object, java.lang.Object)
    public static void assertEquals(Object expected, Object actual) {
        assertTrue("expected " + expected + ", not " + actual, java.util.Objects.equals(expected, actual));
    }

    // #assertEquals(double, double, double)
    public static void assertEquals(double expected, double actual, double delta) {
        assertTrue("expected " + expected + ", not " + actual, Math.abs(expected - actual) <= delta);
    }

    // #assertArrayEquals(float[], float[], float)
    public static void assertArrayEquals(float[] expecteds, float[] actuals, float delta) {
        assertEquals(expecteds.length, actuals.length);
        for (int index = 0; index < expecteds.length; index++) assertEquals(expecteds[index], actuals[index], delta);
    }

    // #fail(java.lang.String)
    public static void fail(String message) {
        throw new AssertionError(message);
    }
}
